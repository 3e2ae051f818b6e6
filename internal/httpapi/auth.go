package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Access is who may read and who may operate.
type Access struct {
	// APIToken allows reads. Empty: only direct requests from this machine may read.
	APIToken string
	// AdminTokens allow operator actions and reads. None: operator actions are refused.
	AdminTokens []AdminToken
	// PublicReads lets everybody read, without a token.
	PublicReads bool
}

// AdminToken is one token of ADMIN_TOKEN. Name is the actor in the history.
type AdminToken struct{ Name, Token string }

// anybody lets every request through: the answer holds nothing that needs a token.
func (a *API) anybody(http.ResponseWriter, *http.Request) error { return nil }

// reader lets through who may read deals, alerts and detailed health.
func (a *API) reader(w http.ResponseWriter, r *http.Request) error {
	if a.access.publicReads {
		return nil
	}
	return a.insider(w, r)
}

// insider lets through who may read stored deliveries and metrics. PUBLIC_READS
// does not allow that: it is for a frontend that cannot keep a token.
func (a *API) insider(w http.ResponseWriter, r *http.Request) error {
	if role, _ := a.access.identify(credential(r)); role != roleNone {
		return nil
	}
	// Failure policy: closed. A forgotten API_TOKEN must not publish the
	// pipeline, so without one only a direct caller on this machine may read.
	if len(a.access.readers) == 0 && local(r) {
		return nil
	}
	return a.challenge(w)
}

// operator lets through who may change something.
func (a *API) operator(w http.ResponseWriter, r *http.Request) error {
	if err := a.csrf.Check(r); err != nil {
		return &Error{
			Status: http.StatusForbidden, Code: "foreign_origin",
			Message: "operator actions are not accepted from another site's page", cause: err,
		}
	}
	role, actor := a.access.identify(credential(r))
	switch role {
	case roleOperator:
		if rec, ok := w.(*recorder); ok {
			rec.actor = actor
		}
		return nil
	case roleReader:
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "this token may read; the action needs ADMIN_TOKEN"}
	default:
		return a.challenge(w)
	}
}

// challenge returns a 401 that asks for a token. With Basic a browser asks its user,
// so the header offers Basic only when some token would pass.
func (a *API) challenge(w http.ResponseWriter) error {
	if len(a.access.readers)+len(a.access.admins) == 0 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Dealbox"`)
		return &Error{
			Status: http.StatusUnauthorized, Code: "unauthorized",
			Message: "no token is configured, so only direct requests from this machine may read: set API_TOKEN or ADMIN_TOKEN",
		}
	}
	w.Header()["Www-Authenticate"] = []string{`Basic realm="Dealbox", charset="UTF-8"`, `Bearer realm="Dealbox"`}
	return &Error{
		Status: http.StatusUnauthorized, Code: "unauthorized",
		Message: "a valid token is needed, as Bearer or as the password of HTTP Basic",
	}
}

// credential returns the Bearer token, or the password of HTTP Basic whatever the
// user name; "" without either.
func credential(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	_, password, _ := r.BasicAuth()
	return password
}

// local reports whether a request comes directly from this machine, and not through
// a proxy or a rebound name (DNS rebinding).
func local(r *http.Request) bool {
	return peer(r).IsLoopback() && loopbackHost(r.Host) && !forwarded(r.Header)
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func forwarded(h http.Header) bool {
	for name := range h {
		if name == "Forwarded" || name == "X-Real-Ip" || name == "Via" || strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// role is what a credential allows.
type role int

const (
	roleNone role = iota
	roleReader
	roleOperator
)

// authority compares credentials by digest, so that the comparison takes the
// same time whatever their length and content.
type authority struct {
	readers     [][sha256.Size]byte
	admins      []adminDigest
	publicReads bool
}

type adminDigest struct {
	name   string
	digest [sha256.Size]byte
}

func newAuthority(access Access) authority {
	a := authority{publicReads: access.PublicReads}
	if access.APIToken != "" {
		a.readers = append(a.readers, sha256.Sum256([]byte(access.APIToken)))
	}
	for _, admin := range access.AdminTokens {
		if admin.Token != "" {
			a.admins = append(a.admins, adminDigest{admin.Name, sha256.Sum256([]byte(admin.Token))})
		}
	}
	return a
}

// identify returns the role and the actor of a token. It compares the token with
// every known one, without stopping early.
func (a *authority) identify(token string) (role, string) {
	if token == "" {
		return roleNone, ""
	}
	given := sha256.Sum256([]byte(token))
	found, actor := roleNone, ""
	for i := range a.readers {
		if subtle.ConstantTimeCompare(given[:], a.readers[i][:]) == 1 {
			found = roleReader
		}
	}
	for i := range a.admins {
		if subtle.ConstantTimeCompare(given[:], a.admins[i].digest[:]) == 1 {
			found, actor = roleOperator, a.admins[i].name
		}
	}
	return found, actor
}
