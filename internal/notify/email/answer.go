package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"syscall"

	gomail "github.com/wneessen/go-mail"

	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// maxWords bounds what is kept of the server's words, in bytes.
const maxWords = 250

// stage is how far a conversation with the server came.
type stage int

const (
	greeting  stage = iota // the server's first line
	hello                  // EHLO, HELO
	startTLS               // STARTTLS
	login                  // AUTH
	sender                 // MAIL FROM
	recipient              // RCPT TO
	content                // DATA
)

// refusal is an answer of the server that is no 2xx or 3xx.
type refusal struct {
	stage stage
	code  int    // 550
	words string // all that it said, on one line, with its enhanced code (5.1.1) if it gave one
}

// classify returns a failure in words, with what to do about it, and whether another
// attempt may help. It wraps nothing: what it shows holds neither password nor mail.
func (t *attempt) classify(ctx context.Context, err error, to string) (retry bool, _ error) {
	if ended := notify.Ended(ctx); ended != nil {
		return true, t.explainEnd(ended)
	}
	if r, ok := t.refusalOf(err); ok {
		return t.refused(r, to)
	}
	if sent, ok := errors.AsType[*gomail.SendError](err); ok {
		// Without a code the connection broke off.
		words, _, _ := strings.Cut(sent.Error(), ", affected message ID")
		return true, t.failure("the connection broke off: "+text.Line(words, maxWords), "")
	}
	return t.unusable(err)
}

// explainEnd says more about an attempt that met its limit, by how far it came.
func (t *attempt) explainEnd(ended error) error {
	var limit *notify.SendError
	if !errors.As(ended, &limit) {
		return ended // a caller that gave up
	}
	switch {
	case !t.connected.Load():
		return &notify.SendError{
			Text: "nothing answers at " + t.server + " within " + t.config.Timeout.String() + ": a firewall drops the connection, or the port is blocked",
			Do:   "Let this machine connect to it; many providers block port 25, so use 587 (smtp://) or 465 (smtps://) in SMTP_URL",
		}
	case t.heard.Load() == 0 && t.config.Security == StartTLS:
		return &notify.SendError{
			Text: limit.Text + "; it did not even greet",
			Do:   "If this port speaks TLS from the first byte, as 465 does, write smtps:// in SMTP_URL",
		}
	}
	return limit
}

// refusalOf returns the answer that err is about, and whether there is one.
func (t *attempt) refusalOf(err error) (refusal, bool) {
	if sent, ok := errors.AsType[*gomail.SendError](err); ok {
		words, _, _ := strings.Cut(sent.Error(), ", affected ")
		_, words, _ = strings.Cut(words, ": ")
		at := map[gomail.SendErrReason]stage{gomail.ErrSMTPMailFrom: sender, gomail.ErrSMTPRcptTo: recipient}
		s, ok := at[sent.Reason]
		if !ok {
			s = content
		}
		return refusal{s, sent.ErrorCode(), text.Line(words, maxWords)}, sent.ErrorCode() != 0
	}
	answer, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return refusal{}, false
	}
	r := refusal{greeting, answer.Code, text.Line(answer.Error(), maxWords)}
	var staged *stagedError
	switch {
	case errors.As(err, &staged):
		r.stage = staged.stage
	case strings.Contains(err.Error(), "SMTP AUTH failed"):
		r.stage = login
	case strings.Contains(err.Error(), "EHLO/HELO exchange failed"):
		r.stage = hello
	case t.heard.Load() == '2': // it greeted well
		r.stage = startTLS
	}
	return r, true
}

// stagedError is an answer in a conversation that go-mail does not lead itself.
type stagedError struct {
	error

	stage stage
}

func (e *stagedError) Unwrap() error { return e.error }

// Words of servers. Codes alone do not tell these apart.
var (
	aboutHello    = regexp.MustCompile(`(?i)\b(helo|ehlo)\b`)
	aboutRelay    = regexp.MustCompile(`(?i)relay|not permitted to send|authentication required|not authenticated|must (be )?authenticat`)
	aboutSender   = regexp.MustCompile(`(?i)sender|send ?as|from address|not owned by`)
	aboutProof    = regexp.MustCompile(`(?i)\b(spf|dkim|dmarc)\b|5\.7\.26\b`)
	aboutSize     = regexp.MustCompile(`(?i)5\.3\.4\b|size|too (large|big)`)
	aboutMailbox  = regexp.MustCompile(`(?i)\b5\.1\.(1|2|6|10)\b|user|mailbox|recipient|no such|unknown|does not exist`)
	noPasswords   = regexp.MustCompile(`(?i)5\.7\.139|5\.7\.3\b|5\.7\.57|basic authentication is disabled|smtpclientauthentication|smtp auth\S* is disabled`)
	appPassword   = regexp.MustCompile(`(?i)5\.7\.9\b|application-specific|app password|5\.7\.8\b.*gsmtp`)
	fullMailbox   = regexp.MustCompile(`(?i)[45]\.2\.2\b|full|quota`)
	namedAsSyntax = regexp.MustCompile(`\b5\.5\.2\b`)
)

// refused says what an answer means and what to do.
func (t *attempt) refused(r refusal, to string) (retry bool, _ error) {
	switch {
	case r.code == 421:
		return true, t.failure("is not available at the moment"+r.said(), "")
	case r.stage == hello, r.stage >= sender && (aboutHello.MatchString(r.words) || r.code == 504 || namedAsSyntax.MatchString(r.words)):
		return true, t.failure("does not accept the name "+t.config.Helo+" that Dealbox gives at HELO"+r.said(),
			"Set SMTP_HELO to the full host name of this machine, one that DNS knows")
	case r.stage == greeting:
		return true, t.failure(fmt.Sprintf("turns this machine away before anything was said (%d)", r.code),
			"Mostly its address is on a blocklist, or is not one that may send: send through your provider's relay, or have the address taken off the list")
	case r.stage == startTLS:
		return r.code < 500, t.failure(fmt.Sprintf("does not turn to TLS, although it offers to (%d)", r.code), "Ask its administrator, or use its port for TLS (smtps://host:465)")
	case r.stage == login:
		return r.code < 500, t.loginRefused(r)
	case r.code == 530:
		return false, t.failure("wants a login first"+r.said(), "Put user and password of a mailbox into SMTP_URL, with smtp:// (STARTTLS) or smtps://, or let its administrator allow this machine's address (a relay or connector)")
	case r.code < 500 && fullMailbox.MatchString(r.words):
		return true, t.failure("says that the mailbox "+to+" is full"+r.said(), "Dealbox tries again for a day")
	case r.code < 500:
		return true, &notify.SendError{
			Text: "the mail server " + t.server + " puts the mail off" + r.said(), Passing: true,
			Do: "Servers do that with senders that they do not know yet (greylisting). Dealbox tries again by itself",
		}
	}
	return false, t.refusedForGood(r, to)
}

func (t *attempt) loginRefused(r refusal) error {
	switch {
	case r.code < 500:
		return t.failure(fmt.Sprintf("cannot check the login at the moment (%d)", r.code), "Dealbox tries again by itself")
	case noPasswords.MatchString(r.words):
		return t.failure(fmt.Sprintf("takes no passwords (%d): Microsoft 365 and others have switched them off", r.code), withoutPasswords)
	case appPassword.MatchString(r.words):
		return t.failure(fmt.Sprintf("wants an app password and not that of the account (%d)", r.code),
			"Make one in the account's security settings and put it into SMTP_URL")
	}
	// Its words may repeat what it was sent.
	return t.failure(fmt.Sprintf("answered %d: it refuses user or password", r.code),
		"Correct them in SMTP_URL, with @ : / written percent-encoded; some providers want an app password")
}

// withoutPasswords is the way out where a server takes no passwords.
const withoutPasswords = "Send through a relay or connector that knows this machine's address, without user and password in SMTP_URL; " +
	"or through a provider that takes a password or an app password; or use ALERT_WEBHOOK_FORMAT=teams"

// refusedForGood is about 5xx from MAIL FROM on.
func (t *attempt) refusedForGood(r refusal, to string) error {
	from := t.from.Address
	switch {
	case aboutProof.MatchString(r.words):
		return t.failure("does not believe that the mail is from "+t.domain()+r.said(),
			"Allow this server for the domain in DNS (SPF, DKIM, DMARC), or send through the domain's own mail server")
	case aboutRelay.MatchString(r.words) && !aboutMailbox.MatchString(strings.ReplaceAll(r.words, to, "")):
		return t.relayDenied(r, to)
	case aboutSize.MatchString(r.words) && r.stage != recipient, r.code == 552 && !fullMailbox.MatchString(r.words):
		return t.failure("finds the mail too large"+r.said(), "Raise its limit to at least 100 kB")
	case fullMailbox.MatchString(r.words):
		return t.failure("says that the mailbox "+to+" is full"+r.said(), "Empty it, or name another one in ALERT_EMAIL_TO")
	case r.stage == sender, aboutSender.MatchString(r.words):
		return t.failure("does not let this login send as "+from+r.said(), "Set ALERT_EMAIL_FROM to an address of the account in SMTP_URL, or allow the account to send as that one")
	case aboutRelay.MatchString(r.words):
		return t.relayDenied(r, to)
	case r.stage == recipient:
		return t.failure("refuses the mailbox "+to+r.said(), "Correct it in ALERT_EMAIL_TO, or ask its administrator to take mail of "+from)
	}
	return t.failure("refuses the mail itself, as spam or by a rule"+r.said(), "Ask its administrator to take mail of "+from)
}

func (t *attempt) relayDenied(r refusal, to string) error {
	return t.failure("does not pass mail on to "+to+" for this machine"+r.said(),
		"Put user and password into SMTP_URL, or have the server's administrator allow this machine's address to relay")
}

// said quotes the server from MAIL FROM on, where its words are about an address;
// before that they may repeat what it was sent.
func (r refusal) said() string {
	if r.stage < sender {
		return fmt.Sprintf(" (%d)", r.code)
	}
	return " (" + r.words + ")"
}

// unusable says why no conversation came about.
func (t *attempt) unusable(err error) (retry bool, _ error) {
	said := err.Error()
	switch {
	case strings.Contains(said, "does not support STARTTLS"):
		return false, t.failure("does not support STARTTLS on this port, and Dealbox sends no password and no alert without TLS",
			"Use its port for TLS (smtps://host:465), switch STARTTLS on there, or ?tls=none for a catcher on this machine only")
	case strings.Contains(said, "does not support SMTP AUTH"):
		return false, t.failure("offers no login", "If it is a relay that knows this machine's address, take user and password out of SMTP_URL; else use its submission port, 587 or 465")
	case errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		return false, t.failure("takes no passwords: it offers logins of another kind only, such as OAuth (XOAUTH2)", withoutPasswords)
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return true, &notify.SendError{Text: "no answer from " + t.server + ": DNS does not know the name " + lookup.Name, Do: "Correct the host in SMTP_URL, or this machine's DNS"}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return true, &notify.SendError{
			Text: "no answer from " + t.server + ": connection refused, so nothing listens there",
			Do:   "Correct host and port in SMTP_URL: 587 for smtp://, 465 for smtps://",
		}
	}
	if record := new(tls.RecordHeaderError); errors.As(err, record) {
		return true, &notify.SendError{Text: t.server + ": it does not speak TLS on that port", Do: "Write smtp:// in SMTP_URL, for STARTTLS, or use its port for TLS, mostly 465"}
	}
	if words, ok := notify.NetworkFailure(err); ok {
		return true, &notify.SendError{Text: "no answer from " + t.server + ": " + words}
	}
	return false, &notify.SendError{Text: t.server + " cannot be used: " + text.Line(said, maxWords)}
}

func (t *attempt) failure(what, do string) error {
	return &notify.SendError{Text: "the mail server " + t.server + " " + what, Do: do}
}
