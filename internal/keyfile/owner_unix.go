//go:build unix

package keyfile

import (
	"io/fs"
	"os"
	"syscall"
)

func belonging(info fs.FileInfo) belongings {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return belongings{}
	}
	groups, _ := os.Getgroups() // none: the user's own is all that is known
	return belongings{
		known: true, owner: int(stat.Uid), group: int(stat.Gid),
		user: os.Geteuid(), userGroups: append(groups, os.Getegid()),
	}
}
