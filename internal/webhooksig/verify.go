package webhooksig

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
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

// check is one accepted scheme: its headers, and the function that verifies them.
type check struct {
	headers []string
	pass    func(http.Header, []byte) (Verified, error)
}

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
		return check{[]string{headerID, headerTimestamp, headerSignature}, v.standard}
	case SchemeTimestamped:
		return check{[]string{headerPlainTimestamp, headerPlainSignature}, v.timestamped}
	case SchemeStrapi:
		return check{[]string{headerStrapi, headerStrapi256}, v.strapi}
	default:
		return check{[]string{headerAuthorization}, v.token}
	}
}

// Verify returns how the delivery with this header and these raw body bytes was
// authenticated. The error is a *SignatureError. A delivery must pass every
// accepted scheme that it carries a header of; Verify ignores other headers.
//
// Failure policy: closed. Verify refuses whatever is not exactly in form.
func (v *Verifier) Verify(h http.Header, body []byte) (Verified, error) {
	if len(h[headerContentEncoding]) > 0 {
		// The signature is over the bytes before any encoding, which h does not have.
		return Verified{}, &SignatureError{Code: CodeMalformed, Detail: "the body is encoded"}
	}
	var strongest Verified
	for _, c := range v.checks {
		if !carries(h, c.headers) {
			continue
		}
		passed, err := c.pass(h, body)
		if err != nil {
			return Verified{}, err
		}
		if strongest.Scheme == "" {
			strongest = passed
		}
	}
	if strongest.Scheme == "" {
		return Verified{}, &SignatureError{Code: CodeMissing, Detail: "no header of an accepted scheme"}
	}
	return strongest, nil
}

func (v *Verifier) standard(h http.Header, body []byte) (Verified, error) {
	id, ok := single(h, headerID)
	if !ok || !validDeliveryID(id) {
		return malformed(SchemeStandard, "webhook-id")
	}
	stamp, at, ok := timestamp(h, headerTimestamp)
	if !ok {
		return malformed(SchemeStandard, "webhook-timestamp")
	}
	list, ok := single(h, headerSignature)
	if !ok {
		return malformed(SchemeStandard, "webhook-signature")
	}
	macs, ok := parseSignatureList(list)
	if !ok {
		return malformed(SchemeStandard, "webhook-signature")
	}
	if !v.signed(macs, func(key []byte) []byte { return standardMAC(key, id, stamp, body) }) {
		return mismatch(SchemeStandard)
	}
	if err := v.fresh(SchemeStandard, at); err != nil {
		return Verified{}, err
	}
	return Verified{Scheme: SchemeStandard, DeliveryID: id}, nil
}

func (v *Verifier) timestamped(h http.Header, body []byte) (Verified, error) {
	stamp, at, ok := timestamp(h, headerPlainTimestamp)
	if !ok {
		return malformed(SchemeTimestamped, "X-Webhook-Timestamp")
	}
	value, _ := single(h, headerPlainSignature)
	digits, ok := strings.CutPrefix(value, hashPrefix)
	if !ok {
		return malformed(SchemeTimestamped, "X-Webhook-Signature")
	}
	sum, ok := parseHex(digits)
	if !ok {
		return malformed(SchemeTimestamped, "X-Webhook-Signature")
	}
	if !v.signed([][]byte{sum}, func(key []byte) []byte { return timestampedMAC(key, stamp, body) }) {
		return mismatch(SchemeTimestamped)
	}
	if err := v.fresh(SchemeTimestamped, at); err != nil {
		return Verified{}, err
	}
	return Verified{Scheme: SchemeTimestamped}, nil
}

func (v *Verifier) strapi(h http.Header, body []byte) (Verified, error) {
	name := headerStrapi
	if len(h[headerStrapi256]) > 0 {
		if len(h[headerStrapi]) > 0 {
			return malformed(SchemeStrapi, "one of X-Strapi-Signature and X-Strapi-Signature-256")
		}
		name = headerStrapi256
	}
	value, _ := single(h, name)
	sum, ok := parseHex(strings.TrimPrefix(value, hashPrefix))
	if !ok {
		return malformed(SchemeStrapi, name)
	}
	if !v.signed([][]byte{sum}, func(key []byte) []byte { return bodyMAC(key, body) }) {
		return mismatch(SchemeStrapi)
	}
	return Verified{Scheme: SchemeStrapi}, nil
}

func (v *Verifier) token(h http.Header, _ []byte) (Verified, error) {
	value, ok := single(h, headerAuthorization)
	if !ok || len(value) <= len(bearerPrefix) || !strings.EqualFold(value[:len(bearerPrefix)], bearerPrefix) {
		return malformed(SchemeToken, "Authorization")
	}
	// Hashed, so that the time of the comparison does not depend on the token's length either.
	got := sha256.Sum256([]byte(value[len(bearerPrefix):]))
	found := 0
	for _, want := range v.tokens {
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	if found != 1 {
		return mismatch(SchemeToken)
	}
	return Verified{Scheme: SchemeToken}, nil
}

// signed reports whether one of the keys made one of the MACs. It compares all of
// them, so that its time does not depend on which.
func (v *Verifier) signed(macs [][]byte, want func(key []byte) []byte) bool {
	found := 0
	for _, key := range v.keys {
		w := want(key)
		for _, m := range macs {
			found |= subtle.ConstantTimeCompare(w, m)
		}
	}
	return found == 1
}

// fresh checks the signed time. It comes after the signature, so that only one who
// knows the secret learns about our clock.
func (v *Verifier) fresh(s Scheme, at time.Time) error {
	age := v.now().Sub(at)
	if age > v.tolerance || age < -v.tolerance {
		return &SignatureError{Code: CodeOutOfTolerance, Scheme: s, Detail: "the signed timestamp is too far from now"}
	}
	return nil
}

func malformed(s Scheme, what string) (Verified, error) {
	return Verified{}, &SignatureError{Code: CodeMalformed, Scheme: s, Detail: what + " is missing, doubled or not in form"}
}

func mismatch(s Scheme) (Verified, error) {
	return Verified{}, &SignatureError{Code: CodeMismatch, Scheme: s, Detail: "it was not made with a secret that Dealbox knows"}
}
