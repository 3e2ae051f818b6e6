package alerting

import (
	"fmt"

	"dealbox/internal/level"
)

// SignatureWindow counts what came to the webhook within some minutes. It is kept
// in memory: what is not authentic must cost no statement.
type SignatureWindow struct {
	Accepted int64
	Refused  Refusals
}

// Refusals counts deliveries that are not authentic by why they are not.
type Refusals map[Refusal]int64

// Refusal is why a delivery is not authentic.
type Refusal struct {
	// Code is that of the answer (signature_mismatch, …).
	Code string
	// Scheme is "" when the delivery carried none.
	Scheme string
	// Named: a header names the event, as every Strapi does.
	Named bool
}

// Subjects of RuleSignatureFailures.
const (
	subjectWrongSecret = "wrong_secret"
	subjectWrongClock  = "wrong_clock"
	subjectUnsigned    = "unsigned"
	subjectMalformed   = "malformed"
	subjectForged      = "forged"
)

// OwnSignatureFailures are the subjects of RuleSignatureFailures that speak about our
// own Strapi: they are over when a delivery is accepted.
func OwnSignatureFailures() []string {
	return []string{subjectWrongSecret, subjectWrongClock, subjectUnsigned, subjectMalformed}
}

// Codes of a Refusal, as package strapi has them.
const (
	codeMissing  = "signature_missing"
	codeMismatch = "signature_mismatch"
	codeLate     = "timestamp_out_of_tolerance"
)

// maybeOwn tells whether our own Strapi may have sent it: nobody else makes
// well-formed signatures by chance, or names the event.
func (r Refusal) maybeOwn() bool { return r.Named || r.Code == codeMismatch || r.Code == codeLate }

func (r Refusals) maybeOwn() Refusals {
	own := Refusals{}
	for refusal, n := range r {
		if refusal.maybeOwn() {
			own[refusal] = n
		}
	}
	return own
}

// Total is how many there are.
func (r Refusals) Total() (total int64) {
	for _, n := range r {
		total += n
	}
	return total
}

// most is the most frequent one.
func (r Refusals) most() (most Refusal) {
	for refusal, n := range r {
		if n > r[most] || (n == r[most] && refusal.Code+refusal.Scheme < most.Code+most.Scheme) {
			most = refusal
		}
	}
	return most
}

const (
	// minOwn is how many refusals of one kind, with nothing accepted, look like our
	// own Strapi. A quiet one takes several windows to send them.
	minOwn = 3
	// minForged is how many refusals in a window are worth a word at all. The
	// internet knocks on every door now and then.
	minForged = 50
)

// Suspect is the one way in which our own Strapi seems to be refused, and how many
// deliveries were since one was accepted. The zero value is that there is none.
type Suspect struct {
	Refusal

	Deliveries int64
}

// next is the suspect after one more window.
func (s Suspect) next(w SignatureWindow) Suspect {
	own := w.Refused.maybeOwn()
	kind := own.most()
	n := own[kind]
	switch {
	case w.Accepted > 0 || n*10 < own.Total()*9: // a mixture is nobody's setting
		return Suspect{}
	case n == 0:
		return s
	case kind == s.Refusal:
		n += s.Deliveries
	}
	return Suspect{Refusal: kind, Deliveries: n}
}

// JudgeSignatures is RuleSignatureFailures; nil when there is nothing to tell. It
// takes the suspect of the windows before, and answers the one to give it next. A
// setting that is wrong refuses everything, and in one way; whoever tries to forge
// comes on top of what is accepted, or in many ways, or without a known signature.
func JudgeSignatures(before Suspect, w SignatureWindow) (*Alert, Suspect) {
	s := before.next(w)
	n := w.Refused[s.Refusal]
	if others := w.Refused.Total() - n; n > 0 && s.Deliveries >= minOwn && s.Deliveries >= others*9 {
		return s.alert(), s
	}
	return forged(w), s
}

// alert tells what is wrong between our own Strapi and Dealbox.
func (s Suspect) alert() *Alert {
	alert := &Alert{Rule: RuleSignatureFailures, Level: level.Critical, Details: map[string]any{
		"refused": s.Deliveries, "accepted": 0, "most": s.Code, "scheme": s.Scheme,
	}}
	switch s.Code {
	case codeMismatch:
		alert.Subject = subjectWrongSecret
		alert.Message = fmt.Sprintf("%d deliveries carry a well-formed signature (%s) that does not match, and none that does: "+
			"the secret in Strapi and STRAPI_WEBHOOK_SECRET differ", s.Deliveries, s.Scheme)
	case codeLate:
		alert.Subject = subjectWrongClock
		alert.Message = fmt.Sprintf("%d deliveries are signed for another time than now, and none is in time: set the clocks of Strapi's machine and this one by NTP", s.Deliveries)
	case codeMissing:
		alert.Subject, alert.Level = subjectUnsigned, level.Error
		alert.Message = fmt.Sprintf("%d deliveries of a Strapi arrived unsigned, and none signed: is the plugin loaded, does STRAPI_WEBHOOK_URLS name this URL?", s.Deliveries)
	default: // signature_malformed
		alert.Subject, alert.Level = subjectMalformed, level.Error
		alert.Message = fmt.Sprintf("%d deliveries of a Strapi carry a signature that is not in form, and none that is: does a proxy double headers or encode bodies?", s.Deliveries)
	}
	return alert
}

// forged tells of many refusals that are not our own Strapi's.
func forged(w SignatureWindow) *Alert {
	total, most := w.Refused.Total(), w.Refused.most()
	if total < minForged {
		return nil
	}
	return &Alert{
		Rule: RuleSignatureFailures, Subject: subjectForged, Level: level.Warning,
		Message: fmt.Sprintf("%d deliveries were refused as not authentic (most: %s) while %d were accepted: somebody tries, or a second sender is set up wrongly",
			total, most.Code, w.Accepted),
		Details: map[string]any{"refused": total, "accepted": w.Accepted, "most": most.Code, "scheme": most.Scheme},
	}
}
