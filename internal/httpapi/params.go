package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// params holds query parameters and the first mistake that was found in them. A parameter that
// is empty counts as not given. Routes refuses one that is unknown.
type params struct {
	values url.Values
	err    error
}

func parseParams(r *http.Request) *params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &params{err: invalidParameter("query", "it is not well-formed")}
	}
	return &params{values: values}
}

// each returns every value of a list, parsed.
func each[T any](p *params, field string, parse func(string) (T, error)) []T {
	var all []T
	for _, text := range p.list(field) {
		v, err := parse(text)
		if err != nil {
			p.fail(field, err.Error())
			return nil
		}
		all = append(all, v)
	}
	return all
}

// single returns a value that may be given once, parsed, and nil when it is not given.
func single[T any](p *params, field string, parse func(string) (T, error)) *T {
	text := p.one(field)
	if text == "" {
		return nil
	}
	v, err := parse(text)
	if err != nil {
		p.fail(field, err.Error())
		return nil
	}
	return &v
}

// integer returns a whole number from least to most, and 0 when it is not given.
func (p *params) integer(field string, least, most int) int {
	given := p.one(field)
	if given == "" {
		return 0
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < least || n > most {
		p.fail(field, "it must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
		return 0
	}
	return n
}

// moment returns a time, midnight UTC for a date, and zero when it is not given.
func (p *params) moment(field string) time.Time {
	given := p.one(field)
	if given == "" {
		return time.Time{}
	}
	t, err := parseMoment(given)
	if err != nil {
		p.fail(field, err.Error()+" (write + as %2B in a URL)")
	}
	return t
}

// parseMoment reads a time, or a date as its midnight UTC.
func parseMoment(given string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, given); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("it must be a time like 2026-01-31T09:00:00Z or a date")
}

// list returns the comma-separated values of a parameter, which may also be repeated.
func (p *params) list(field string) []string {
	var all []string
	for _, part := range strings.Split(strings.Join(p.values[field], ","), ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// one returns the value of a parameter that may be given once.
func (p *params) one(field string) string {
	given := p.values[field]
	if len(given) > 1 {
		p.fail(field, "it may be given once")
		return ""
	}
	return p.values.Get(field)
}

// fail keeps the mistake in a field, unless there was one before.
func (p *params) fail(field, why string) {
	if p.err == nil {
		p.err = invalidParameter(field, why)
	}
}
