package mirror

// WriteAll writes a state of one installation.
func (s *Store) WriteAll(host string, i *Installation, records map[int64]*Record) error {
	return s.write(host, changes{installations: map[int64]*Installation{i.ID: i}, repositories: records})
}
