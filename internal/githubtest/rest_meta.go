package githubtest

// getMeta answers GET /meta with what is true of a GitHub on this machine.
func (c *call) getMeta() answer {
	loopback := []string{"127.0.0.0/8", "::1/128"}
	if c.enterprise() {
		return c.ok(map[string]any{
			"verifiable_password_authentication": false,
			"packages":                           loopback,
			"installed_version":                  enterpriseVersion,
		})
	}
	return c.ok(map[string]any{
		"verifiable_password_authentication": false,
		"hooks":                              loopback,
		"web":                                loopback,
		"api":                                loopback,
		"git":                                loopback,
		"packages":                           loopback,
		"pages":                              loopback,
		"importer":                           loopback,
		"actions":                            loopback,
		"ssh_keys":                           []string{},
	})
}
