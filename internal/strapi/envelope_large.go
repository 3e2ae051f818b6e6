package strapi

import "errors"

// maxLargeString is how much of a string LargeEnvelope keeps, in bytes: an identifier
// of 255 bytes has six times as many when each is an escape.
const maxLargeString = 2 << 10

// MaxLargeKept bounds what a LargeEnvelope keeps of a whole body, in bytes.
const MaxLargeKept = 512 << 10

// afterBackslash is the value of escape for the byte that says which escape it is.
const afterBackslash = -1

var errLargeEnvelope = errors.New("the body is too large to be kept, and so are its first two levels")

// LargeEnvelope reads the envelope of a body that is too large to keep. Write all of the
// body to it, in pieces of any size. It keeps what ParseEnvelope reads, the first two
// levels, without the rest of long strings: at most MaxLargeKept.
type LargeEnvelope struct {
	kept []byte
	full bool
	// depth is how many brackets are open.
	depth int
	// inString is whether a string is open. Of it: the bytes of an escape that are still to
	// come (afterBackslash: not known yet), how many bytes came, whether they are dropped.
	inString bool
	escape   int
	length   int
	dropping bool
}

// Write implements io.Writer. It never fails.
func (l *LargeEnvelope) Write(p []byte) (int, error) {
	for _, c := range p {
		if l.inString {
			l.inText(c)
		} else {
			l.between(c)
		}
	}
	return len(p), nil
}

// Envelope returns what ParseEnvelope would return for the whole body, except that it
// finds fewer faults below the second level.
func (l *LargeEnvelope) Envelope() (Envelope, error) {
	if l.full {
		return Envelope{}, errLargeEnvelope
	}
	return ParseEnvelope(l.kept)
}

// between handles a byte outside of strings.
func (l *LargeEnvelope) between(c byte) {
	switch c {
	case '{', '[':
		l.depth++
		if l.depth <= 3 { // of the third level the brackets alone
			l.keep(c)
		}
	case '}', ']':
		if l.depth <= 3 {
			l.keep(c)
		}
		l.depth--
	case '"':
		l.inString, l.length, l.dropping = true, 0, false
		l.keepUpper(c)
	case ' ', '\t', '\r', '\n':
		if n := len(l.kept); n > 0 && l.kept[n-1] != ' ' {
			l.keepUpper(' ')
		}
	default:
		l.keepUpper(c)
	}
}

// inText handles a byte of a string. It cuts between characters and never within an escape.
func (l *LargeEnvelope) inText(c byte) {
	switch {
	case l.escape == afterBackslash && c == 'u':
		l.escape = 4
	case l.escape == afterBackslash:
		l.escape = 0
	case l.escape > 0:
		l.escape--
	case c == '"':
		l.inString = false
		l.keepUpper(c)
		return
	default:
		l.dropping = l.length >= maxLargeString
		if c == '\\' {
			l.escape = afterBackslash
		}
	}
	l.length++
	if !l.dropping {
		l.keepUpper(c)
	}
}

// keepUpper keeps a byte of the first two levels.
func (l *LargeEnvelope) keepUpper(c byte) {
	if l.depth <= 2 {
		l.keep(c)
	}
}

func (l *LargeEnvelope) keep(c byte) {
	if len(l.kept) >= MaxLargeKept {
		l.full, l.kept = true, nil
	}
	if !l.full {
		l.kept = append(l.kept, c)
	}
}
