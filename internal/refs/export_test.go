package refs

import "bytes"

// ReadListing reads an answer to ls-refs, for tests.
func ReadListing(text []byte, w Revision) (Found, error) {
	l, err := newListing(w)
	if err != nil {
		return Found{}, err
	}
	err = readListing(newPackets(bytes.NewReader(text), maxAnswer), l)
	return l.found, err
}

// ReadAdvertisement reads the answer to git's first request, for tests.
func ReadAdvertisement(text []byte, w Revision) (Found, error) {
	l, err := newListing(w)
	if err != nil {
		return Found{}, err
	}
	_, err = readAdvertisement(newPackets(bytes.NewReader(text), maxAnswer), l)
	return l.found, err
}
