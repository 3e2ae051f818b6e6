package strapi

import "io"

// maxString is what is kept of one string of an answer, in bytes as it is written in
// JSON: 10,922 characters if each is two escapes. A longer one fits no field, so its
// rest needs no memory; the JSON stays whole.
const maxString = 128 << 10

// shortStrings reads JSON and leaves out what is beyond maxString in each string.
type shortStrings struct {
	r io.Reader
	// All below is the state after the last byte.
	inString, escaped, cut bool
	length                 int // of the string
	hex                    int // digits that a \u still has
}

// Read implements io.Reader. It returns 0 and no error where it left out all that it read.
func (s *shortStrings) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	kept := 0
	for _, b := range p[:n] {
		if s.keeps(b) {
			p[kept] = b
			kept++
		}
	}
	return kept, err
}

// keeps moves the state over a byte. A cut never parts an escape.
func (s *shortStrings) keeps(b byte) bool {
	if !s.inString {
		s.inString, s.cut, s.length = b == '"', false, 0
		return true
	}
	s.length++
	whole := !s.escaped && s.hex == 0
	switch {
	case s.escaped:
		s.escaped = false
		if b == 'u' {
			s.hex = 4
		}
	case s.hex > 0:
		s.hex--
	case b == '\\':
		s.escaped = true
	case b == '"':
		s.inString = false
		return true
	}
	if whole && s.length > maxString {
		s.cut = true
	}
	return !s.cut
}
