package main

// replace runs path as a child, since Windows replaces no process.
func replace(path string, args []string, stdin *tape) (int, error) {
	return runChild(path, args, stdin.rewound())
}
