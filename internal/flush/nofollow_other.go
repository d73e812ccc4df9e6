//go:build !unix

package flush

const noFollow = 0
