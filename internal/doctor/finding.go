package doctor

import "slices"

// Finding is the result of one check. It never holds a secret.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do; empty when the check is OK
}

// Status of a Finding.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, but somebody should see to it
	Fail Status = "fail"
	Skip Status = "skip" // not checked, for the reason given
)

// Count returns how many findings have the status.
func Count(findings []Finding, s Status) int {
	n := 0
	for _, f := range findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

func ok(check, detail string) Finding {
	return Finding{Check: check, Status: OK, Detail: detail}
}

func warn(check, detail, fix string) Finding {
	return Finding{Check: check, Status: Warn, Detail: detail, Fix: fix}
}

func failed(check, detail, fix string) Finding {
	return Finding{Check: check, Status: Fail, Detail: detail, Fix: fix}
}

func skipped(check, why string) Finding {
	return Finding{Check: check, Status: Skip, Detail: "not checked: " + why}
}

// wrong returns the first of these settings that is wrong.
func (d doctor) wrong(names ...string) (name string, isWrong bool) {
	for _, p := range d.problems {
		if slices.Contains(names, p.Setting) {
			return p.Setting, true
		}
	}
	return "", false
}
