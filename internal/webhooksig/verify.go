package webhooksig

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"
)

// defaultTolerance is the one of the Standard Webhooks libraries.
const defaultTolerance = 300 * time.Second

// Codes of a SignatureError.
const (
	CodeMissing        = "signature_missing"
	CodeMalformed      = "signature_malformed"
	CodeMismatch       = "signature_mismatch"
	CodeOutOfTolerance = "timestamp_out_of_tolerance"
)

// SignatureError is why a delivery is not authentic. The answer to the delivery may
// hold Code alone; the rest is for the log. Nothing in it comes from the delivery.
type SignatureError struct {
	Code   string
	Scheme Scheme // "" when the error is about no single scheme
	Detail string // a fixed text
}

func (e *SignatureError) Error() string {
	if e.Scheme == "" {
		return e.Code + ": " + e.Detail
	}
	return e.Code + ": scheme " + string(e.Scheme) + ": " + e.Detail
}

// Config says which deliveries are authentic.
type Config struct {
	// Schemes to accept; none means standard, timestamped and strapi. SchemeToken
	// does not stand here: Token turns it on.
	Schemes []Scheme
	// Secrets as ParseSecret accepts them; any of them may have signed. Without
	// one the Verifier accepts no signature, and Token is required.
	Secrets []string
	// Tolerance is how far a signed timestamp may lie from now, in both
	// directions. 0 means 300 s.
	Tolerance time.Duration
	// Token turns on SchemeToken. It may be several tokens with commas between them.
	Token string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Verifier decides whether a delivery is authentic. It is safe for concurrent use.
type Verifier struct {
	checks    []check // strongest first
	keys      [][]byte
	tokens    [][sha256.Size]byte
	tolerance time.Duration
	now       func() time.Time
}

// check is one accepted scheme: its headers, and the function that reads what they claim.
type check struct {
	headers []string
	read    func(http.Header) (claim, error)
}

// claim is what the headers of one scheme say about a body.
type claim struct {
	verified Verified
	// prefix is signed in front of the body.
	prefix string
	// macs are the signatures, one of which must be right. There may be none: then the
	// header has signatures of unknown versions alone, and nothing can be right.
	macs [][]byte
	// at is the signed time; the zero time where the scheme signs none.
	at time.Time
}

// signs reports whether the scheme signs the body. A static token was checked when it was read.
func (c claim) signs() bool { return c.verified.Scheme != SchemeToken }

// Verified is how a delivery was authenticated.
type Verified struct {
	// Scheme is the strongest of those that the delivery passed.
	Scheme Scheme
	// DeliveryID is the signed webhook-id of SchemeStandard, else "".
	DeliveryID string
}

// NewVerifier makes a Verifier. It accepts short secrets, which published test
// vectors have; the service's settings check the length. Its errors never hold a
// secret or a token.
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{tolerance: c.Tolerance, now: c.Now}
	if v.tolerance == 0 {
		v.tolerance = defaultTolerance
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.tolerance < 0 {
		return nil, errors.New("verify webhooks: the tolerance is negative")
	}
	if len(c.Secrets) == 0 && c.Token == "" {
		return nil, errors.New("verify webhooks: neither a secret nor a token is given")
	}
	if err := v.addSecrets(c.Secrets); err != nil {
		return nil, err
	}
	if err := v.addTokens(c.Token); err != nil {
		return nil, err
	}
	if err := v.addChecks(c.Schemes); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Verifier) addSecrets(secrets []string) error {
	for i, s := range secrets {
		key, err := ParseSecret(s)
		if err != nil {
			return fmt.Errorf("verify webhooks: secret %d: %w", i+1, err)
		}
		v.keys = append(v.keys, key)
	}
	return nil
}

func (v *Verifier) addTokens(list string) error {
	if list == "" {
		return nil
	}
	for i, token := range strings.Split(list, ",") {
		if !visibleASCII(token) {
			return fmt.Errorf("verify webhooks: token %d is empty or has characters that are not visible ASCII", i+1)
		}
		v.tokens = append(v.tokens, sha256.Sum256([]byte(token)))
	}
	return nil
}

func (v *Verifier) addChecks(accepted []Scheme) error {
	known := []Scheme{SchemeStandard, SchemeTimestamped, SchemeStrapi}
	for _, s := range accepted {
		if !slices.Contains(known, s) {
			return fmt.Errorf("verify webhooks: unknown scheme %q; known are standard, timestamped and strapi", s)
		}
	}
	if len(accepted) == 0 {
		accepted = known
	}
	for _, s := range known {
		if slices.Contains(accepted, s) && len(v.keys) > 0 {
			v.checks = append(v.checks, v.check(s))
		}
	}
	if len(v.tokens) > 0 {
		v.checks = append(v.checks, v.check(SchemeToken))
	}
	return nil
}

func (v *Verifier) check(s Scheme) check {
	switch s {
	case SchemeStandard:
		return check{[]string{headerID, headerTimestamp, headerSignature}, readStandard}
	case SchemeTimestamped:
		return check{[]string{headerPlainTimestamp, headerPlainSignature}, readTimestamped}
	case SchemeStrapi:
		return check{[]string{headerStrapi, headerStrapi256}, readStrapi}
	default:
		return check{[]string{headerAuthorization}, v.readToken}
	}
}

// Verify returns how the delivery with this header and these raw body bytes was
// authenticated. The error is a *SignatureError. A delivery must pass every
// accepted scheme that it carries a header of; Verify ignores other headers.
//
// Failure policy: closed. Verify refuses whatever is not exactly in form.
func (v *Verifier) Verify(h http.Header, body []byte) (Verified, error) {
	b, err := v.Begin(h)
	if err != nil {
		return Verified{}, err
	}
	_, _ = b.Write(body) // it cannot fail
	return b.End()
}

// Begin checks what needs no body: that the headers of an accepted scheme are there and
// in form, and a static token. Then write the raw bytes of the body, and call End. The
// error is a *SignatureError.
func (v *Verifier) Begin(h http.Header) (*Body, error) {
	if len(h[headerContentEncoding]) > 0 {
		// The signature is over the bytes before any encoding, which h does not have.
		return nil, &SignatureError{Code: CodeMalformed, Detail: "the body is encoded"}
	}
	b := &Body{verifier: v}
	for _, c := range v.checks {
		if !carries(h, c.headers) {
			continue
		}
		claimed, err := c.read(h)
		if err != nil {
			return nil, err
		}
		b.add(claimed)
	}
	if len(b.claims) == 0 {
		return nil, &SignatureError{Code: CodeMissing, Detail: "no header of an accepted scheme"}
	}
	return b, nil
}

// Body verifies the bytes that are written to it, and keeps none of them. It is not
// safe for concurrent use.
type Body struct {
	verifier *Verifier
	claims   []claim     // strongest first
	sums     []hash.Hash // of each claim with a signature, one a key
}

func (b *Body) add(c claim) {
	b.claims = append(b.claims, c)
	if !c.signs() {
		return
	}
	for _, key := range b.verifier.keys {
		sum := hmac.New(sha256.New, key)
		sum.Write([]byte(c.prefix))
		b.sums = append(b.sums, sum)
	}
}

// Write implements io.Writer. It never fails.
func (b *Body) Write(p []byte) (int, error) {
	for _, sum := range b.sums {
		sum.Write(p)
	}
	return len(p), nil
}

// End returns how the whole body was authenticated. The error is a *SignatureError.
func (b *Body) End() (Verified, error) {
	sums := b.sums
	for _, c := range b.claims {
		if !c.signs() {
			continue
		}
		ours := sums[:len(b.verifier.keys)]
		sums = sums[len(ours):]
		if !signed(c.macs, ours) {
			return Verified{}, mismatch(c.verified.Scheme)
		}
		// After the signature, so that only one who knows the secret learns about our clock.
		if !c.at.IsZero() && !b.verifier.fresh(c.at) {
			return Verified{}, &SignatureError{
				Code: CodeOutOfTolerance, Scheme: c.verified.Scheme, Detail: "the signed timestamp is too far from now",
			}
		}
	}
	return b.claims[0].verified, nil
}

// signed reports whether one of the keys made one of the MACs. It compares all of
// them, so that its time does not depend on which.
func signed(macs [][]byte, sums []hash.Hash) bool {
	found := 0
	for _, sum := range sums {
		want := sum.Sum(nil)
		for _, m := range macs {
			found |= subtle.ConstantTimeCompare(want, m)
		}
	}
	return found == 1
}

// fresh reports whether a signed time is near enough to now.
func (v *Verifier) fresh(at time.Time) bool {
	age := v.now().Sub(at)
	return age <= v.tolerance && age >= -v.tolerance
}

func readStandard(h http.Header) (claim, error) {
	id, ok := single(h, headerID)
	if !ok || !validDeliveryID(id) {
		return claim{}, malformed(SchemeStandard, "webhook-id")
	}
	stamp, at, ok := timestamp(h, headerTimestamp)
	if !ok {
		return claim{}, malformed(SchemeStandard, "webhook-timestamp")
	}
	list, ok := single(h, headerSignature)
	if !ok {
		return claim{}, malformed(SchemeStandard, "webhook-signature")
	}
	macs, ok := parseSignatureList(list)
	if !ok {
		return claim{}, malformed(SchemeStandard, "webhook-signature")
	}
	return claim{Verified{Scheme: SchemeStandard, DeliveryID: id}, standardPrefix(id, stamp), macs, at}, nil
}

func readTimestamped(h http.Header) (claim, error) {
	stamp, at, ok := timestamp(h, headerPlainTimestamp)
	if !ok {
		return claim{}, malformed(SchemeTimestamped, "X-Webhook-Timestamp")
	}
	sum, ok := parseHash(h, headerPlainSignature)
	if !ok {
		return claim{}, malformed(SchemeTimestamped, "X-Webhook-Signature")
	}
	return claim{Verified{Scheme: SchemeTimestamped}, timestampedPrefix(stamp), [][]byte{sum}, at}, nil
}

func readStrapi(h http.Header) (claim, error) {
	name := headerStrapi
	if len(h[headerStrapi256]) > 0 {
		if len(h[headerStrapi]) > 0 {
			return claim{}, malformed(SchemeStrapi, "one of X-Strapi-Signature and X-Strapi-Signature-256")
		}
		name = headerStrapi256
	}
	sum, ok := parseHash(h, name)
	if !ok {
		return claim{}, malformed(SchemeStrapi, name)
	}
	return claim{verified: Verified{Scheme: SchemeStrapi}, macs: [][]byte{sum}}, nil
}

func (v *Verifier) readToken(h http.Header) (claim, error) {
	value, ok := single(h, headerAuthorization)
	if !ok || len(value) <= len(bearerPrefix) || !strings.EqualFold(value[:len(bearerPrefix)], bearerPrefix) {
		return claim{}, malformed(SchemeToken, "Authorization")
	}
	// Hashed, so that the time of the comparison does not depend on the token's length either.
	got := sha256.Sum256([]byte(value[len(bearerPrefix):]))
	found := 0
	for _, want := range v.tokens {
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	if found != 1 {
		return claim{}, mismatch(SchemeToken)
	}
	return claim{verified: Verified{Scheme: SchemeToken}}, nil
}

func malformed(s Scheme, what string) error {
	return &SignatureError{Code: CodeMalformed, Scheme: s, Detail: what + " is missing, doubled or not in form"}
}

func mismatch(s Scheme) error {
	return &SignatureError{Code: CodeMismatch, Scheme: s, Detail: "it was not made with a secret that Dealbox knows"}
}
