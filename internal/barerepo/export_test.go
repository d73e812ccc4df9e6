package barerepo

// SetFault has something happen after each step of an update.
func (r *Repository) SetFault(fault func(step string)) { r.fault = fault }

// CheckRefName is checkRefName.
var CheckRefName = checkRefName

// ReadEntries is readEntries.
var ReadEntries = readEntries

// Line is line.
func (e Entry) Line() string { return e.line() }

// Check is check, of an object format.
func (e Entry) Check(format string) error { return e.check(format) }
