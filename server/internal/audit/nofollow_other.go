//go:build !unix

package audit

// noFollow: a link of somebody else's is kept away by the directory's access control list.
const noFollow = 0
