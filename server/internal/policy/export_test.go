package policy

// CompilePattern is a pattern as a policy has them, for fuzzing.
func CompilePattern(text string) (func(string) bool, error) {
	p, err := newPattern(text, false)
	if err != nil {
		return nil, err
	}
	return p.match, nil
}
