package alerting

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// SignatureWindow counts the deliveries to the webhook within some minutes. It is
// kept in memory: what is not authentic must cost no statement.
type SignatureWindow struct {
	Accepted int64
	Refused  Refusals
}

// Plus returns the window that is both, one after the other.
func (w SignatureWindow) Plus(next SignatureWindow) SignatureWindow {
	both := SignatureWindow{Accepted: w.Accepted + next.Accepted, Refused: Refusals{}}
	for _, refused := range []Refusals{w.Refused, next.Refused} {
		for refusal, n := range refused {
			both.Refused[refusal] += n
		}
	}
	return both
}

// Refusals counts deliveries that are not authentic by why they are not.
type Refusals map[Refusal]int64

// Refusal is why a delivery is not authentic.
type Refusal struct {
	// Code is the error code of the 401 (signature_mismatch, …).
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

// OwnSignatureFailures returns the subjects of RuleSignatureFailures that are about
// our own Strapi: they clear when a delivery is accepted.
func OwnSignatureFailures() []string {
	return []string{subjectWrongSecret, subjectWrongClock, subjectUnsigned, subjectMalformed}
}

// WordLostWebhooks returns the text of RuleLostWebhooks: it blames Strapi only where
// Dealbox itself refused no webhook of our Strapi lately.
func (a *Alerts) WordLostWebhooks(ctx context.Context, db dbsqlc.DBTX, n int) (string, error) {
	refused, err := a.queries.AlertRefusedWebhooks(ctx, db, OwnSignatureFailures())
	if errors.Is(err, pgx.ErrNoRows) {
		return LostWebhooks(n), nil
	}
	if err != nil {
		return "", fmt.Errorf("read whether Dealbox refused webhooks: %w", err)
	}
	return LostWebhooksRefused(n, refused.Rule, refused.FirstSeen), nil
}

const (
	// minOwn is how many refusals of one kind, with nothing accepted, are probably our
	// own Strapi's. A quiet one takes several windows to send them.
	minOwn = 3
	// minForged is how many refusals in a window are worth an alert. Scanners of the
	// internet try every address now and then.
	minForged = 50
)

// EvaluateSignatures returns RuleSignatureFailures, nil when nothing is wrong, and
// the suspect for the next call; it takes the suspect of the windows before. A
// setting that is wrong refuses everything, and in one way. Whoever tries to forge
// comes on top of what is accepted, or in many ways, or without a known signature.
func EvaluateSignatures(before Suspect, w SignatureWindow) (*Alert, Suspect) {
	s := before.next(w)
	if s.isRefused(w) {
		return s.alert(), s
	}
	return forged(w), s
}

// IsOwnStrapiRefused reports whether EvaluateSignatures would return an alert about our
// own Strapi: that needs no more counting.
func IsOwnStrapiRefused(before Suspect, w SignatureWindow) bool { return before.next(w).isRefused(w) }

func (s Suspect) isRefused(w SignatureWindow) bool {
	n := w.Refused[s.Refusal]
	others := w.Refused.Total() - n
	return n > 0 && s.Deliveries >= minOwn && s.Deliveries >= others*9
}

// Suspect is the one way in which our own Strapi seems to be refused, and how many
// deliveries were since one was accepted. The zero value is that there is none.
type Suspect struct {
	Refusal

	Deliveries int64
}

// next returns the suspect after one more window.
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

func (r Refusals) maybeOwn() Refusals {
	own := Refusals{}
	for refusal, n := range r {
		if refusal.maybeOwn() {
			own[refusal] = n
		}
	}
	return own
}

// Codes of a Refusal, as package strapi has them.
const (
	codeMissing  = "signature_missing"
	codeMismatch = "signature_mismatch"
	codeLate     = "timestamp_out_of_tolerance"
)

// maybeOwn reports whether our own Strapi may have sent it: nobody else makes
// well-formed signatures by chance, or names the event.
func (r Refusal) maybeOwn() bool { return r.Named || r.Code == codeMismatch || r.Code == codeLate }

// alert returns the alert about what is wrong between our own Strapi and Dealbox.
func (s Suspect) alert() *Alert {
	alert := &Alert{Rule: RuleSignatureFailures, Level: level.Critical, Details: map[string]any{
		"refused": s.Deliveries, "accepted": 0, "most": s.Code, "scheme": s.Scheme,
	}}
	var what, do string
	switch s.Code {
	case codeMismatch:
		alert.Subject = subjectWrongSecret
		what = fmt.Sprintf("with a well-formed signature (%s) that does not match: the secret in Strapi and STRAPI_WEBHOOK_SECRET differ", s.Scheme)
		do = "Set the same secret on both sides"
	case codeLate:
		alert.Subject = subjectWrongClock
		what = "signed for another time than now: a clock is wrong, Strapi's or this machine's"
		do = "Set both clocks by NTP"
	case codeMissing:
		alert.Subject, alert.Level = subjectUnsigned, level.Error
		what = "without a signature: Strapi does not sign them"
		do = "Check in Strapi that the plugin is loaded and that STRAPI_WEBHOOK_URLS names this URL"
	default: // signature_malformed
		alert.Subject, alert.Level = subjectMalformed, level.Error
		what = "with a signature that is not in form: mostly a proxy between Strapi and Dealbox that doubles headers or encodes bodies"
		do = "Check that proxy"
	}
	alert.Message = fmt.Sprintf("Dealbox refused %s of our Strapi and accepted none; they came %s. What changed in Strapi since is not lost: "+
		"reconciliation brings it, minutes late, so the mirror and the forecast are behind by that. %s, then press Trigger at Strapi's webhook", webhooks(s.Deliveries), what, do)
	return alert
}

// forged returns the alert about many refusals that are not our own Strapi's.
func forged(w SignatureWindow) *Alert {
	total, most := w.Refused.Total(), w.Refused.most()
	if total < minForged {
		return nil
	}
	return &Alert{
		Rule: RuleSignatureFailures, Subject: subjectForged, Level: level.Warning,
		Message: fmt.Sprintf("Dealbox refused %s as not authentic (most: %s) and accepted %d: a stranger tries to forge them, "+
			"or a second Strapi has other settings. Refused ones change nothing in Dealbox. If it is no Strapi of yours, let a firewall or proxy stop the addresses in Dealbox's log",
			webhooks(total), most.Code, w.Accepted),
		Details: map[string]any{"refused": total, "accepted": w.Accepted, "most": most.Code, "scheme": most.Scheme},
	}
}

// Total returns how many there are.
func (r Refusals) Total() (total int64) {
	for _, n := range r {
		total += n
	}
	return total
}

// most returns the most frequent one.
func (r Refusals) most() (most Refusal) {
	for refusal, n := range r {
		if n > r[most] || (n == r[most] && refusal.Code+refusal.Scheme < most.Code+most.Scheme) {
			most = refusal
		}
	}
	return most
}
