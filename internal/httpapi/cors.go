package httpapi

import "net/http"

// cors lets pages of the configured origins read answers, errors included.
// Tokens travel in a header that the page sets, so credentials (cookies,
// remembered passwords) are never allowed.
func (a *API) cors(next http.Handler) http.Handler {
	if len(a.origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		known := a.origins[origin]
		if known {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
		}
		if !isPreflight(r) {
			next.ServeHTTP(w, r)
			return
		}
		if !known {
			a.fail(w, &Error{Status: http.StatusForbidden, Code: "origin_not_allowed", Message: "this origin is not in CORS_ORIGINS"})
			return
		}
		preflight(w)
	})
}

// isPreflight reports whether a browser only asks if it may send the real request.
// Browsers send no token with that, so CORS is handled before the guards.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
