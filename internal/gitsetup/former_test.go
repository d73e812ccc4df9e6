package gitsetup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoveFormer(t *testing.T) {
	const (
		core   = "[core]\n\tbare = false\n"
		remote = "[remote \"origin\"]\n\turl = https://github.com/acme/site.git\n"
		header = "[credential \"https://github.com\"]\n"
		three  = "\thelper = \n\thelper = ghapp --app Iv23li --key /old/app.pem\n\tuseHttpPath = true\n"
	)
	for name, test := range map[string]struct{ before, want string }{
		"a clone":                   {core + header + three + remote, core + remote},
		"at the end":                {core + header + three, core + ""},
		"without a last line break": {core + header + three[:len(three)-1], core},
		"with quotes": {header + "\thelper = \n\thelper = \"!'/opt/my ghapp/ghapp' credential\"\n" +
			"\tuseHttpPath = true\n" + core, core},
		"another's line stays": {header + three + "\tusername = me\n" + core, header + "\tusername = me\n" + core},
		"a line before stays":  {header + "\tusername = me\n" + three + core, header + "\tusername = me\n" + core},
		"a comment stays":      {header + three + "# mine\n" + core, header + "# mine\n" + core},
		"another helper": {header + "\thelper = \n\thelper = store\n\tuseHttpPath = true\n",
			header + "\thelper = \n\thelper = store\n\tuseHttpPath = true\n"},
		"another order": {header + "\tuseHttpPath = true\n\thelper = ghapp\n",
			header + "\tuseHttpPath = true\n\thelper = ghapp\n"},
		"another host": {"[credential \"https://ghe.example\"]\n" + three,
			"[credential \"https://ghe.example\"]\n" + three},
		"no host":          {"[credential]\n" + three, "[credential]\n" + three},
		"an empty section": {header + core, header + core},
		"marked ones":      {string(Text(sections(origin))), string(Text(sections(origin)))},
	} {
		if diff := cmp.Diff(test.want, string(RemoveFormer([]byte(test.before), []string{origin}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if RemoveFormer(nil, nil) != nil {
		t.Error("a file that is not there becomes one")
	}
}
