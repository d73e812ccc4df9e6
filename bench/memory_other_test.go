//go:build !linux

package bench

func memoryTaken() memory { return memory{} }
