package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/httpapi"
)

// call is one request, with who sends it spelt out.
type call struct {
	method, path     string
	peer, host       string // default: this machine
	bearer, password string
	headers          http.Header
}

const noEvent = "0193a5a0-0000-7000-8000-000000000000"

func (h *env) call(c call) *httptest.ResponseRecorder {
	r := httptest.NewRequest(or(c.method, http.MethodGet), or(c.path, "/api/v1/alerts"), nil)
	r.RemoteAddr = or(c.peer, "127.0.0.1:50000")
	r.Host = or(c.host, "127.0.0.1:8000")
	for name, values := range c.headers {
		r.Header[name] = values
	}
	if c.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.password != "" {
		r.SetBasicAuth("anybody", c.password)
	}
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, r)
	return w
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestAccess_WithTokens(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	run := call{method: http.MethodPost, path: "/api/v1/models/forecast/run"}
	with := func(c call, change func(*call)) call { change(&c); return c }
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"ReadNone":                 {call{}, 401},
		"ReadNoneThoughLoopback":   {call{peer: "[::1]:50000", host: "localhost:8000"}, 401},
		"ReadWrong":                {call{bearer: "wrong"}, 401},
		"ReadPrefix":               {call{bearer: readToken[:len(readToken)-1]}, 401},
		"ReadLonger":               {call{bearer: readToken + "x"}, 401},
		"ReadEmptyBearer":          {call{headers: http.Header{"Authorization": {"Bearer "}}}, 401},
		"ReadWithoutScheme":        {call{headers: http.Header{"Authorization": {readToken}}}, 401},
		"ReadBearer":               {call{bearer: readToken}, 200},
		"ReadLowercaseScheme":      {call{headers: http.Header{"Authorization": {"bearer " + readToken}}}, 200},
		"ReadBasic":                {call{password: readToken}, 200},
		"ReadAdmin":                {call{bearer: adminToken}, 200},
		"ReadFromAfar":             {call{bearer: readToken, peer: "203.0.113.9:1", host: "dealbox.example"}, 200},
		"DetailedHealthNone":       {call{path: "/api/v1/health/detailed"}, 401},
		"ForecastNone":             {call{path: "/api/v1/models/forecast/base"}, 401},
		"EventsNone":               {call{path: "/api/v1/events"}, 401},
		"EventsRead":               {call{path: "/api/v1/events", bearer: readToken}, 200},
		"EventNone":                {call{path: "/api/v1/events/" + noEvent}, 401},
		"EventRead":                {call{path: "/api/v1/events/" + noEvent, bearer: readToken}, 404},
		"MetricsNone":              {call{path: "/metrics"}, 401},
		"MetricsRead":              {call{path: "/metrics", bearer: readToken}, 200},
		"ReplayOneNone":            {call{method: http.MethodPost, path: "/api/v1/events/" + noEvent + "/replay"}, 401},
		"ReplayOneRead":            {call{method: http.MethodPost, path: "/api/v1/events/" + noEvent + "/replay", bearer: readToken}, 403},
		"ReplayOneAdmin":           {call{method: http.MethodPost, path: "/api/v1/events/" + noEvent + "/replay", bearer: adminToken}, 404},
		"ReplayAllNone":            {call{method: http.MethodPost, path: "/api/v1/events/replay"}, 401},
		"ReplayAllRead":            {call{method: http.MethodPost, path: "/api/v1/events/replay", bearer: readToken}, 403},
		"ReplayAllAdmin":           {call{method: http.MethodPost, path: "/api/v1/events/replay", bearer: adminToken}, 400},
		"PageNone":                 {call{path: "/"}, 401},
		"AssetNone":                {call{path: "/assets/dashboard.js"}, 401},
		"PageBasic":                {call{path: "/", password: readToken}, 200},
		"HealthzNone":              {call{path: "/healthz", peer: "203.0.113.9:1"}, 200},
		"ReadyzNone":               {call{path: "/readyz", peer: "203.0.113.9:1"}, 200},
		"HealthNone":               {call{path: "/api/v1/health", peer: "203.0.113.9:1"}, 200},
		"OperateNone":              {run, 401},
		"OperateRead":              {with(run, func(c *call) { c.bearer = readToken }), 403},
		"OperateAdmin":             {with(run, func(c *call) { c.bearer = adminToken }), 202},
		"OperateAdminBasic":        {with(run, func(c *call) { c.password = adminToken }), 202},
		"OperateForeignOrigin":     {with(run, func(c *call) { c.bearer = adminToken; c.headers = http.Header{"Origin": {"https://evil.example"}} }), 403},
		"OperateForeignSite":       {with(run, func(c *call) { c.bearer = adminToken; c.headers = http.Header{"Sec-Fetch-Site": {"cross-site"}} }), 403},
		"OperateOwnOrigin":         {with(run, func(c *call) { c.bearer = adminToken; c.headers = http.Header{"Origin": {"http://127.0.0.1:8000"}} }), 202},
		"OperateNoneForeignOrigin": {with(run, func(c *call) { c.headers = http.Header{"Origin": {"https://evil.example"}} }), 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.call(c.call)
			require.Equal(t, c.status, w.Code, w.Body.String())
			if c.status == http.StatusUnauthorized {
				require.Equal(t, `Basic realm="Dealbox", charset="UTF-8"`, w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

func TestAccess_WithoutTokens(t *testing.T) {
	t.Parallel()
	h := open(t)
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"Local":            {call{}, 200},
		"LocalName":        {call{host: "localhost"}, 200},
		"LocalV6":          {call{peer: "[::1]:1", host: "[::1]:8000"}, 200},
		"LocalMapped":      {call{peer: "[::ffff:127.0.0.1]:1"}, 200},
		"LocalWrongToken":  {call{bearer: "wrong"}, 200},
		"Afar":             {call{peer: "203.0.113.9:1"}, 401},
		"UnixSocket":       {call{peer: "@"}, 401},
		"ReboundHost":      {call{host: "evil.example:8000"}, 401},
		"HostThatLooksSo":  {call{host: "127.0.0.1.evil.example"}, 401},
		"ForwardedFor":     {call{headers: http.Header{"X-Forwarded-For": {"127.0.0.1"}}}, 401},
		"ForwardedHost":    {call{headers: http.Header{"X-Forwarded-Host": {"localhost"}}}, 401},
		"Forwarded":        {call{headers: http.Header{"Forwarded": {"for=127.0.0.1"}}}, 401},
		"RealIP":           {call{headers: http.Header{"X-Real-Ip": {""}}}, 401},
		"OperateLocal":     {call{method: http.MethodPost, path: "/api/v1/models/forecast/run"}, 401},
		"OperateSomeToken": {call{method: http.MethodPost, path: "/api/v1/models/forecast/run", bearer: "x"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.call(c.call)
			require.Equal(t, c.status, w.Code, w.Body.String())
			if c.status == http.StatusUnauthorized {
				require.Equal(t, `Bearer realm="Dealbox"`, w.Header().Get("WWW-Authenticate"), "no browser dialog that no password can satisfy")
			}
		})
	}
}

func TestAccess_AdminTokenAlone(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens, func(c *httpapi.Config, _ *httpapi.Stages) { c.Access.APIToken = "" })
	require.Equal(t, 200, h.call(call{}).Code)
	require.Equal(t, 401, h.call(call{peer: "203.0.113.9:1"}).Code)
	require.Equal(t, 200, h.call(call{peer: "203.0.113.9:1", bearer: adminToken}).Code)
}

func TestAccess_PublicReads(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens, func(c *httpapi.Config, _ *httpapi.Stages) { c.Access.PublicReads = true })
	afar := "203.0.113.9:1"
	for _, path := range []string{"/api/v1/alerts", "/api/v1/health/detailed", "/api/v1/models/forecast/base", "/"} {
		require.Equal(t, 200, h.call(call{path: path, peer: afar}).Code, path)
	}
	for _, path := range []string{"/api/v1/events", "/api/v1/events/" + noEvent, "/metrics"} {
		require.Equal(t, 401, h.call(call{path: path, peer: afar}).Code, "%s holds what no frontend needs", path)
	}
	require.Equal(t, 401, h.call(call{method: http.MethodPost, path: "/api/v1/models/forecast/run", peer: afar}).Code)
}

func TestAccess_ActorIsLogged(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	w := h.call(call{method: http.MethodPost, path: "/api/v1/models/forecast/run", bearer: adminToken})
	require.Equal(t, "ada", h.logLine(w.Header().Get("X-Request-Id"))["actor"])
	require.NotContains(t, h.log.String(), adminToken)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const frontend = "https://app.example"
	h := open(t, withTokens, func(c *httpapi.Config, _ *httpapi.Stages) {
		c.CORSOrigins = []string{frontend, "http://localhost:3000"}
	})
	from := func(origin string, more ...string) http.Header {
		header := http.Header{"Origin": {origin}}
		for i := 0; i < len(more); i += 2 {
			header.Set(more[i], more[i+1])
		}
		return header
	}
	asks := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
	for name, c := range map[string]struct {
		call    call
		status  int
		allowed string
	}{
		"Read":            {call{bearer: readToken, headers: from(frontend)}, 200, frontend},
		"SecondOrigin":    {call{bearer: readToken, headers: from("http://localhost:3000")}, 200, "http://localhost:3000"},
		"OtherPort":       {call{bearer: readToken, headers: from("http://localhost:3001")}, 200, ""},
		"Subdomain":       {call{bearer: readToken, headers: from("https://x.app.example")}, 200, ""},
		"Null":            {call{bearer: readToken, headers: from("null")}, 200, ""},
		"ErrorsToo":       {call{headers: from(frontend)}, 401, frontend},
		"NotFoundToo":     {call{path: "/nothing", headers: from(frontend)}, 404, frontend},
		"Preflight":       {call{method: http.MethodOptions, headers: from(frontend, asks...)}, 204, frontend},
		"ForeignAsks":     {call{method: http.MethodOptions, headers: from("https://evil.example", asks...)}, 403, ""},
		"PlainOptions":    {call{method: http.MethodOptions, headers: from(frontend)}, 405, frontend},
		"OperatesTrusted": {call{method: http.MethodPost, path: "/api/v1/models/forecast/run", bearer: adminToken, headers: from(frontend, "Sec-Fetch-Site", "cross-site")}, 202, frontend},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.call(c.call)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, c.allowed, w.Header().Get("Access-Control-Allow-Origin"))
			require.Contains(t, w.Header().Values("Vary"), "Origin")
			require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"))
			if c.status == http.StatusNoContent {
				require.Equal(t, "Authorization, Content-Type", w.Header().Get("Access-Control-Allow-Headers"))
				require.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), "POST")
			}
		})
	}
}

func TestCORS_BadOriginIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	_, err := httpapi.New(httpapi.Config{CORSOrigins: []string{"app.example"}}, httpapi.Stages{})
	require.ErrorContains(t, err, "app.example")
}
