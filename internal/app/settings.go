package app

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is one wrong setting. It never holds the value of a secret.
type Problem struct {
	Setting string // e.g. STRAPI_URL
	Wrong   string // continues the name: "is not set"
	Fix     string // what to do, a full sentence
}

// SettingsError names every wrong setting at once.
type SettingsError struct{ Problems []Problem }

func (e *SettingsError) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	if len(e.Problems) == 1 {
		lines = append(lines, "1 setting is wrong:")
	} else {
		lines = append(lines, fmt.Sprintf("%d settings are wrong:", len(e.Problems)))
	}
	for _, p := range e.Problems {
		lines = append(lines, "  "+p.String())
	}
	return strings.Join(lines, "\n")
}

func (p Problem) String() string { return p.Setting + " " + p.Wrong + ". " + p.Fix }

// ProblemsOf returns the wrong settings that err names; nil for any other error.
func ProblemsOf(err error) []Problem {
	var e *SettingsError
	if errors.As(err, &e) {
		return e.Problems
	}
	return nil
}

// settings reads typed values from the environment and collects what is wrong
// with them. A wrong value reads as the default, so that reading goes on.
type settings struct {
	getenv   func(string) string
	problems []Problem
	secrets  []namedSecret // all that were read, for the check that each is used once
}

type namedSecret struct {
	setting string
	value   Secret
}

func (s *settings) textOr(name, fallback string) string {
	if v := s.text(name); v != "" {
		return v
	}
	return fallback
}

// list splits a comma-separated setting; empty items are left out.
func (s *settings) list(name string) []string { return splitList(s.getenv(name)) }

func splitList(v string) []string {
	var items []string
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// integer reads a whole number from low to high.
func (s *settings) integer(name string, fallback, low, high int) int {
	v := s.text(name)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give a whole number from %d to %d; the default is %d.", low, high, fallback))
		return fallback
	}
	return n
}

// bytes reads a size such as 1048576, 512KiB or 2MiB, from low to high.
func (s *settings) bytes(name string, fallback, low, high int) int {
	v := s.text(name)
	if v == "" {
		return fallback
	}
	number, unit := strings.TrimSpace(v), 1
	for suffix, factor := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if head, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(head), factor
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > high/unit || n*unit < low {
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give a number of bytes, such as 1048576 or 1MiB, from %d to %d; the default is %d.", low, high, fallback))
		return fallback
	}
	return n * unit
}

// number reads a number from low to high.
func (s *settings) number(name string, fallback, low, high float64) float64 {
	v := s.text(name)
	if v == "" {
		return fallback
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(n) || n < low || n > high {
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give a number from %g to %g; the default is %g.", low, high, fallback))
		return fallback
	}
	return n
}

// duration reads `90s`, `2m` or seconds such as `1.0`, from low to high.
func (s *settings) duration(name string, fallback, low, high time.Duration) time.Duration {
	v := s.text(name)
	if v == "" {
		return fallback
	}
	d, err := parseDuration(v)
	if err != nil || d < low || d > high {
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give a duration such as 90s, or seconds such as 1.5, from %s to %s; the default is %s.",
			low, high, fallback))
		return fallback
	}
	return d
}

// parseDuration reads Go's notation, days such as 90d, and a bare number as seconds.
func parseDuration(v string) (time.Duration, error) {
	number, inDays := strings.CutSuffix(v, "d")
	seconds, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return time.ParseDuration(v) //nolint:wrapcheck // the caller names the setting
	}
	if inDays {
		seconds *= day.Seconds()
	}
	// NaN fails this comparison too.
	if !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
		return 0, errors.New("out of range")
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}

func (s *settings) boolean(name string, fallback bool) bool {
	v := s.text(name)
	if v == "" {
		return fallback
	}
	b, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give true or false; the default is %t.", fallback))
		return fallback
	}
	return b
}

// choice reads one of the allowed words, in any case.
func (s *settings) choice(name, fallback string, allowed ...string) string {
	v := strings.ToLower(s.text(name))
	if v == "" {
		return fallback
	}
	if !slices.Contains(allowed, v) {
		s.wrong(name, "is "+shown(v), "Give one of: "+strings.Join(allowed, ", ")+".")
		return fallback
	}
	return v
}

// required reads a setting that has no default.
func (s *settings) required(name, fix string) string {
	v := s.text(name)
	if v == "" {
		s.wrong(name, "is not set", fix)
	}
	return v
}

// webURL reads an http or https URL without user, query and fragment; nil when
// unset or wrong. It never shows the value: people put credentials into URLs.
func (s *settings) webURL(name string) *url.URL {
	v := s.text(name)
	if v == "" {
		return nil
	}
	u, wrong := ParseWebURL(v)
	if wrong == "" && (u.RawQuery != "" || u.ForceQuery) {
		wrong = "has a query (the part from '?')"
	}
	if wrong != "" {
		s.wrong(name, wrong, "Give a URL such as https://host.example.com or https://host.example.com/path.")
		return nil
	}
	return u
}

func (s *settings) wrong(setting, wrong, fix string) {
	s.problems = append(s.problems, Problem{Setting: setting, Wrong: wrong, Fix: fix})
}

// text is a setting without the spaces and line ends around it; "" is unset.
func (s *settings) text(name string) string { return strings.TrimSpace(s.getenv(name)) }

// ParseWebURL parses an http or https URL. It returns what is wrong with v in words
// that follow a setting's name, "" when nothing is.
func ParseWebURL(v string) (u *url.URL, wrong string) {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return nil, "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "does not start with http:// or https://"
	case u.User != nil:
		return nil, "holds a user name or password"
	case u.Hostname() == "":
		return nil, "names no host"
	case !validPort(u.Port()):
		return nil, "has a port outside 1 to 65535"
	case u.Fragment != "" || strings.HasSuffix(v, "#"):
		return nil, "has a fragment (the part from '#')"
	}
	return u, ""
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// shown quotes a value that is no secret, cut to a length that fits a line.
func shown(v string) string {
	const most = 60
	if r := []rune(v); len(r) > most {
		v = string(r[:most]) + "…"
	}
	return strconv.Quote(v)
}
