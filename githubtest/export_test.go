package githubtest

// AwaitGit waits until no git process runs.
func (gh *GitHub) AwaitGit() { gh.runs.Wait() }
