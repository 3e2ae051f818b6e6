package alerting

import "fmt"

// SignatureWindow counts what came to the webhook within some minutes. It is kept
// in memory: what is not authentic must cost no statement.
type SignatureWindow struct {
	Accepted int64
	// Refused counts by code (signature_mismatch, …) and scheme ("" when the
	// delivery carried none).
	Refused map[Refusal]int64
}

// Refusal is why a delivery is not authentic.
type Refusal struct{ Code, Scheme string }

const (
	// minOwn is how many refusals of one kind, with nothing accepted, look like our
	// own Strapi: nobody else makes well-formed signatures by chance.
	minOwn = 3
	// minForged is how many refusals in a window are worth a word at all. The
	// internet knocks on every door now and then.
	minForged = 50
)

// JudgeSignatures is RuleSignatureFailures; nil when there is nothing to tell. A
// secret that is wrong refuses everything, in one way and by one scheme; whoever
// tries to forge comes on top of what is accepted, or without a known signature.
func JudgeSignatures(w SignatureWindow) *Alert {
	var total int64
	var most Refusal
	for r, n := range w.Refused {
		total += n
		if n > w.Refused[most] || (n == w.Refused[most] && (r.Code+r.Scheme) < (most.Code+most.Scheme)) {
			most = r
		}
	}
	own := w.Accepted == 0 && w.Refused[most] >= minOwn && w.Refused[most]*10 >= total*9
	alert := &Alert{Rule: RuleSignatureFailures, Level: Critical, Details: map[string]any{
		"refused": total, "accepted": w.Accepted, "most": most.Code, "scheme": most.Scheme,
	}}
	switch {
	case own && most.Code == "signature_mismatch":
		alert.Subject = "wrong_secret"
		alert.Message = fmt.Sprintf("%d deliveries carry a well-formed signature (%s) that does not match, and none that does: "+
			"the secret in Strapi and STRAPI_WEBHOOK_SECRET differ", total, most.Scheme)
	case own && most.Code == "timestamp_out_of_tolerance":
		alert.Subject = "wrong_clock"
		alert.Message = fmt.Sprintf("%d deliveries are signed for another time than now, and none is in time: set the clocks of Strapi's machine and this one by NTP", total)
	case total >= minForged:
		alert.Subject, alert.Level = "forged", Warning
		alert.Message = fmt.Sprintf("%d deliveries were refused as not authentic (most: %s) while %d were accepted: somebody tries, or a second sender is set up wrongly",
			total, most.Code, w.Accepted)
	default:
		return nil
	}
	return alert
}
