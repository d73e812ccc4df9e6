package indexpack

// Sum returns why bytes have no SHA-1 that can be believed.
func Sum(b []byte) error {
	_, err := sum(b)
	return err
}
