package strapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a body. Strapi nests about ten levels; from a
// hundred thousand on Postgres refuses jsonb with a stack error.
const maxDepth = 100

// reason is why a body is quarantined: a short fixed text, at most with the
// name of a field. It never quotes the body.
type reason string

func (r reason) Error() string { return string(r) }

const (
	notJSON       reason = "the body is not valid JSON"
	cutShort      reason = "the body ends in the middle of its JSON"
	notObject     reason = "the body is not a JSON object"
	trailing      reason = "the body goes on after its JSON object"
	byteOrderMark reason = "the body begins with a byte order mark"
	tooDeep       reason = "the body is nested deeper than 100 levels"
	notUTF8       reason = "a string in the body is not valid UTF-8"
	holdsNUL      reason = "a string in the body holds a NUL character"
	loneSurrogate reason = "a string in the body holds a lone surrogate"
)

// scanner walks over JSON once and decodes only what it is asked for. It is
// stricter than encoding/json: what Postgres cannot store is a fault.
//
// A broken syntax ends the walk and is kept in broken. A fault in a string
// leaves the rest readable: the first one is kept in fault, and the walk goes on.
type scanner struct {
	data   []byte
	pos    int
	depth  int
	broken reason
	fault  reason
}

// stop ends the walk. At the end of the data the cause is always a cut.
func (s *scanner) stop(r reason) bool {
	if s.broken == "" {
		if s.pos >= len(s.data) && r == notJSON {
			r = cutShort
		}
		s.broken = r
	}
	return false
}

func (s *scanner) note(r reason) {
	if s.fault == "" {
		s.fault = r
	}
}

// peek is the next byte that is not white space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// object walks over an object and gives each key to member, which must walk
// over the value.
func (s *scanner) object(member func(key []byte) bool) bool {
	if !s.enter() {
		return false
	}
	if s.peek() == '}' {
		return s.leave()
	}
	for {
		if s.peek() != '"' {
			return s.stop(notJSON)
		}
		key, ok := s.str()
		if !ok {
			return false
		}
		if s.peek() != ':' {
			return s.stop(notJSON)
		}
		s.pos++
		if !member(key) {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			return s.leave()
		default:
			return s.stop(notJSON)
		}
	}
}

func (s *scanner) array() bool {
	if !s.enter() {
		return false
	}
	if s.peek() == ']' {
		return s.leave()
	}
	for {
		if !s.skip() {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			return s.leave()
		default:
			return s.stop(notJSON)
		}
	}
}

func (s *scanner) enter() bool {
	s.pos++
	s.depth++
	if s.depth > maxDepth {
		return s.stop(tooDeep)
	}
	return true
}

func (s *scanner) leave() bool {
	s.pos++
	s.depth--
	return true
}

// skip walks over any value.
func (s *scanner) skip() bool {
	switch c := s.peek(); c {
	case '{':
		return s.object(s.skipMember)
	case '[':
		return s.array()
	case '"':
		_, ok := s.skipString()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || isDigit(c) {
			return s.number()
		}
		return s.stop(notJSON)
	}
}

func (s *scanner) skipMember([]byte) bool { return s.skip() }

func (s *scanner) literal(word string) bool {
	rest := s.data[s.pos:]
	if bytes.HasPrefix(rest, []byte(word)) {
		s.pos += len(word)
		return true
	}
	if bytes.HasPrefix([]byte(word), rest) {
		s.pos = len(s.data)
	}
	return s.stop(notJSON)
}

// number walks over -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() bool {
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return s.stop(notJSON)
	}
	if s.accept('.') && !s.digits() {
		return s.stop(notJSON)
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return s.stop(notJSON)
		}
	}
	return true
}

func (s *scanner) accept(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && isDigit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

// str walks over a string and gives the text between its quotes, decoded.
func (s *scanner) str() ([]byte, bool) {
	start := s.pos
	escaped, ok := s.skipString()
	if !ok {
		return nil, false
	}
	if !escaped {
		return s.data[start+1 : s.pos-1], true
	}
	// Rare here, so the standard library may do it. The syntax is known to be right.
	var decoded string
	if err := json.Unmarshal(s.data[start:s.pos], &decoded); err != nil {
		return nil, s.stop(notJSON)
	}
	return []byte(decoded), true
}

// skipString walks over a string and says whether it has escapes.
func (s *scanner) skipString() (escaped, ok bool) {
	start := s.pos + 1
	ascii := true
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			if !ascii && !utf8.Valid(s.data[start:i]) {
				s.note(notUTF8)
			}
			return escaped, true
		case c == '\\':
			n := s.escape(i)
			if n == 0 {
				return false, false
			}
			i += n - 1
			escaped = true
		case c < ' ':
			s.pos = i
			return false, s.stop(notJSON)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.pos = len(s.data)
	return false, s.stop(cutShort)
}

// escape checks the escape at i and gives its length, 0 when it is broken. A
// pair of surrogates is one escape.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.data) {
		s.pos = len(s.data)
		s.stop(cutShort)
		return 0
	}
	if s.data[i+1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s.data[i+1]) < 0 {
			s.pos = i
			s.stop(notJSON)
			return 0
		}
		return 2
	}
	unit, ok := s.unit(i)
	switch {
	case !ok:
		s.pos = min(i+6, len(s.data))
		s.stop(notJSON)
		return 0
	case unit == 0:
		s.note(holdsNUL)
	case unit >= 0xD800 && unit < 0xDC00:
		if low, ok := s.unit(i + 6); ok && low >= 0xDC00 && low < 0xE000 {
			return 12
		}
		s.note(loneSurrogate)
	case unit >= 0xDC00 && unit < 0xE000:
		s.note(loneSurrogate)
	}
	return 6
}

// unit reads the \uXXXX at i.
func (s *scanner) unit(i int) (rune, bool) {
	if i+6 > len(s.data) || s.data[i] != '\\' || s.data[i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.data[i+2 : i+6] {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// field is what was read of a value that should be a short string.
type field struct {
	value string // "" unless it is safe to keep
	seen  bool
	null  bool
	fault string // what is wrong with it, said after the field's name
}

// text reads a value that should be a string of at most limit bytes without
// control characters. It also walks over any other value.
func (s *scanner) text(f *field, limit int) bool {
	if f.seen {
		// Readers disagree about which of two counts, so none does.
		*f = field{seen: true, fault: "appears twice"}
		return s.skip()
	}
	f.seen = true
	switch s.peek() {
	case '"':
	case 'n':
		f.null = true
		return s.skip()
	default:
		f.fault = "is not a string"
		return s.skip()
	}
	text, unsafe, ok := s.cleanStr()
	if !ok {
		return false
	}
	switch {
	case unsafe:
		f.fault = "is not clean text"
	case len(text) > limit:
		f.fault = "is too long"
	case bytes.ContainsFunc(text, unicode.IsControl):
		f.fault = "holds a control character"
	default:
		f.value = string(text)
	}
	return true
}

// cleanStr is str, and says whether this very string has a fault.
func (s *scanner) cleanStr() (text []byte, unsafe, ok bool) {
	before := s.fault
	s.fault = ""
	text, ok = s.str()
	unsafe = s.fault != ""
	if before != "" {
		s.fault = before
	}
	return text, unsafe, ok
}
