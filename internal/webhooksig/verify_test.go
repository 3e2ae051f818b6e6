package webhooksig

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	svixSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	svixID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	svixStamp     = "1614265330"
	svixBody      = `{"test": 2432232314}`
	svixSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

// vectorTime is svixStamp.
var vectorTime = time.Unix(1614265330, 0)

func at(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}

func mustVerifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	if c.Now == nil {
		c.Now = at(vectorTime.Unix())
	}
	v, err := NewVerifier(c)
	require.NoError(t, err)
	return v
}

func mustSign(t testing.TB, scheme Scheme, secret, id string, when time.Time, body string) http.Header {
	t.Helper()
	h, err := Sign(scheme, secret, id, when, []byte(body))
	require.NoError(t, err)
	return h
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func merge(all ...http.Header) http.Header {
	merged := http.Header{}
	for _, h := range all {
		for name, values := range h {
			merged[name] = append(merged[name], values...)
		}
	}
	return merged
}

// svix gives the published vector's headers with some of them replaced; a
// replacement of "-" leaves the header out.
func svix(pairs ...string) http.Header {
	h := headers("webhook-id", svixID, "webhook-timestamp", svixStamp, "webhook-signature", svixSignature)
	for i := 0; i < len(pairs); i += 2 {
		if h.Del(pairs[i]); pairs[i+1] != "-" {
			h.Set(pairs[i], pairs[i+1])
		}
	}
	return h
}

func requireCode(t testing.TB, want string, err error) {
	t.Helper()
	var signature *SignatureError
	require.ErrorAs(t, err, &signature)
	require.Equal(t, want, signature.Code, err)
}

// Vectors that others published; see the Standard Webhooks test suites, GitHub's
// "Validating webhook deliveries" and others.
func TestVerifier_Verify_PublishedVectors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secret, body string
		now          int64
		header       http.Header
		want         Verified
	}{
		"StandardWebhooks": {svixSecret, svixBody, 1614265330, svix(), Verified{SchemeStandard, svixID}},
		"StandardWebhooksSecond": {
			"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", `{"email":"test@example.com","username":"test_user"}`, 1649367553,
			headers("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "webhook-timestamp", "1649367553",
				"webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
			Verified{SchemeStandard, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"},
		},
		"GitHub": {
			"It's a Secret to Everybody", "Hello, World!", 0,
			headers("X-Strapi-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
			Verified{Scheme: SchemeStrapi},
		},
		"SixteenCharacters": {
			"0123456789abcdef", `{"yo":true}`, 0,
			headers("X-Strapi-Signature", "sha256=b1f8020f5b4cd42042f807dd939015c4a418bc1ff7f604dd55b0a19b5d953d9b"),
			Verified{Scheme: SchemeStrapi},
		},
		"ShortSecretBareHex": {
			"mysecret", `{"foo":"bar"}`, 0,
			headers("X-Strapi-Signature", "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"),
			Verified{Scheme: SchemeStrapi},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, Config{Secrets: []string{c.secret}, Now: at(c.now)})

			got, err := v.Verify(c.header, []byte(c.body))

			require.NoError(t, err)
			require.Equal(t, c.want, got)
			_, err = v.Verify(c.header, []byte(c.body+" "))
			requireCode(t, CodeMismatch, err)
			_, err = v.Verify(c.header, nil)
			requireCode(t, CodeMismatch, err)
		})
	}
}

func TestSign_PublishedVectors(t *testing.T) {
	t.Parallel()
	require.Equal(t, svix(), mustSign(t, SchemeStandard, svixSecret, svixID, vectorTime, svixBody))
	require.Equal(t,
		headers("X-Strapi-Signature", "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"),
		mustSign(t, SchemeStrapi, "mysecret", "", time.Time{}, `{"foo":"bar"}`))
}

func TestVerifier_Verify_Standard(t *testing.T) {
	t.Parallel()
	bare := strings.TrimPrefix(svixSignature, "v1,")
	other := base64.StdEncoding.EncodeToString(make([]byte, 32))
	signedAs := func(id, stamp string) http.Header {
		key, err := ParseSecret(svixSecret)
		require.NoError(t, err)
		sum := mac(key, standardPrefix(id, stamp), []byte(svixBody))
		return headers("webhook-id", id, "webhook-timestamp", stamp,
			"webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(sum))
	}
	list := func(n int) string { return strings.Repeat("v2,x ", n-1) + svixSignature }
	for name, c := range map[string]struct {
		header http.Header
		code   string // "" means accepted
	}{
		"Valid":                     {svix(), ""},
		"LastOfSeveral":             {svix("webhook-signature", "v1,"+other+" "+svixSignature), ""},
		"FirstOfSeveral":            {svix("webhook-signature", svixSignature+" v1,"+other), ""},
		"UnknownVersionsSkipped":    {svix("webhook-signature", "v1a,abc v2,! "+svixSignature), ""},
		"ThirtyTwoSignatures":       {svix("webhook-signature", list(32)), ""},
		"IDOf256Bytes":              {signedAs(strings.Repeat("a", 256), svixStamp), ""},
		"NoHeaders":                 {headers("Content-Type", "application/json"), CodeMissing},
		"OnlyID":                    {headers("webhook-id", svixID), CodeMalformed},
		"NoID":                      {svix("webhook-id", "-"), CodeMalformed},
		"NoTimestamp":               {svix("webhook-timestamp", "-"), CodeMalformed},
		"NoSignature":               {svix("webhook-signature", "-"), CodeMalformed},
		"EmptyID":                   {svix("webhook-id", ""), CodeMalformed},
		"EmptySignature":            {svix("webhook-signature", ""), CodeMalformed},
		"NothingAfterVersion":       {svix("webhook-signature", "v1,"), CodeMalformed},
		"NothingAfterFirstVersion":  {svix("webhook-signature", "v1, "+svixSignature), CodeMalformed},
		"VersionAlone":              {svix("webhook-signature", "v1"), CodeMalformed},
		"NoVersion":                 {svix("webhook-signature", bare), CodeMalformed},
		"OnlyUnknownVersions":       {svix("webhook-signature", "v2,"+bare), CodeMismatch},
		"UppercaseVersion":          {svix("webhook-signature", "V1,"+bare), CodeMismatch},
		"WrongSignature":            {svix("webhook-signature", "v1,"+other), CodeMismatch},
		"Prefix":                    {svix("webhook-signature", svixSignature[:len(svixSignature)-4]), CodeMalformed},
		"PrefixOfOneCharacter":      {svix("webhook-signature", "v1,g"), CodeMalformed},
		"WithoutPadding":            {svix("webhook-signature", strings.TrimSuffix(svixSignature, "=")), CodeMalformed},
		"SpareBitsSet":              {svix("webhook-signature", strings.Replace(svixSignature, "OE=", "OF=", 1)), CodeMalformed},
		"LineEndInside":             {svix("webhook-signature", strings.Replace(svixSignature, "/", "/\n", 1)), CodeMalformed},
		"Longer":                    {svix("webhook-signature", svixSignature+",x"), CodeMalformed},
		"JoinedByProxy":             {svix("webhook-signature", svixSignature+", "+svixSignature), CodeMalformed},
		"DoubleSpace":               {svix("webhook-signature", "v2,x  "+svixSignature), CodeMalformed},
		"ThirtyThreeSignatures":     {svix("webhook-signature", list(33)), CodeMalformed},
		"HugeSignature":             {svix("webhook-signature", svixSignature+" v2,"+strings.Repeat("x", 5000)), CodeMalformed},
		"TwoSignatureHeaders":       {merge(svix(), headers("webhook-signature", svixSignature)), CodeMalformed},
		"TwoTimestampHeaders":       {merge(svix(), headers("webhook-timestamp", svixStamp)), CodeMalformed},
		"TwoIDHeaders":              {merge(svix(), headers("webhook-id", svixID)), CodeMalformed},
		"PlusTimestamp":             {signedAs(svixID, "+1614265330"), CodeMalformed},
		"LeadingZeroTimestamp":      {signedAs(svixID, "01614265330"), CodeMalformed},
		"NegativeTimestamp":         {signedAs(svixID, "-1614265330"), CodeMalformed},
		"FractionalTimestamp":       {signedAs(svixID, "1614265330.0"), CodeMalformed},
		"SpacedTimestamp":           {signedAs(svixID, "1614265330 "), CodeMalformed},
		"ArabicDigits":              {signedAs(svixID, "١٦١٤٢٦٥٣٣٠"), CodeMalformed},
		"UnderscoredTimestamp":      {signedAs(svixID, "1_614_265_330"), CodeMalformed},
		"EndlessTimestamp":          {signedAs(svixID, strings.Repeat("9", 400)), CodeMalformed},
		"OtherTimestamp":            {svix("webhook-timestamp", "1614265331"), CodeMismatch},
		"OtherID":                   {svix("webhook-id", svixID+"x"), CodeMismatch},
		"DotInID":                   {signedAs("msg.1", svixStamp), CodeMalformed},
		"DotMovedIntoID":            {svix("webhook-id", svixID+"."+svixStamp), CodeMalformed},
		"SpaceInID":                 {signedAs("msg 1", svixStamp), CodeMalformed},
		"ControlInID":               {signedAs("msg\x001", svixStamp), CodeMalformed},
		"UnicodeInID":               {signedAs("mség", svixStamp), CodeMalformed},
		"IDOf257Bytes":              {signedAs(strings.Repeat("a", 257), svixStamp), CodeMalformed},
		"EncodedBody":               {svix("Content-Encoding", "gzip"), CodeMalformed},
		"EncodedBodyIdentity":       {svix("Content-Encoding", "identity"), CodeMalformed},
		"TooOld":                    {signedAs(svixID, "1614265029"), CodeOutOfTolerance},
		"TooNew":                    {signedAs(svixID, "1614265631"), CodeOutOfTolerance},
		"OldestAccepted":            {signedAs(svixID, "1614265030"), ""},
		"NewestAccepted":            {signedAs(svixID, "1614265630"), ""},
		"Milliseconds":              {signedAs(svixID, "1614265330999"), ""},
		"MillisecondsTooOld":        {signedAs(svixID, "1614265029999"), CodeOutOfTolerance},
		"MillisecondsTooNew":        {signedAs(svixID, "1614265630001"), CodeOutOfTolerance},
		"MillisecondsOfOther":       {svix("webhook-timestamp", svixStamp+"000"), CodeMismatch},
		"FractionalMilliseconds":    {signedAs(svixID, "1614265330000.0"), CodeMalformed},
		"LeadingZeroMilliseconds":   {signedAs(svixID, "0614265330000"), CodeMalformed},
		"Microseconds":              {signedAs(svixID, "1614265330000000"), CodeMalformed},
		"TenthsOfMilliseconds":      {signedAs(svixID, "16142653300000"), CodeOutOfTolerance},
		"Zero":                      {signedAs(svixID, "0"), CodeOutOfTolerance},
		"FarFuture":                 {signedAs(svixID, strings.Repeat("9", 15)), CodeOutOfTolerance},
		"UnsignedTimestampIsNoHint": {svix("webhook-timestamp", "1"), CodeMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, Config{Secrets: []string{svixSecret}})

			got, err := v.Verify(c.header, []byte(svixBody))

			if c.code != "" {
				requireCode(t, c.code, err)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Verified{SchemeStandard, c.header.Get("webhook-id")}, got)
		})
	}
}

func TestVerifier_Verify_TimestampedAndStrapi(t *testing.T) {
	t.Parallel()
	const secret, body = "mysecret", `{"foo":"bar"}`
	const sum = "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"
	stamped := mustSign(t, SchemeTimestamped, secret, "", vectorTime, body)
	stampedSum := stamped.Get("X-Webhook-Signature")
	old := mustSign(t, SchemeTimestamped, secret, "", vectorTime.Add(-301*time.Second), body)
	future := mustSign(t, SchemeTimestamped, secret, "", vectorTime.Add(301*time.Second), body)
	stampedAs := func(stamp string) http.Header {
		h, err := Sign(SchemeStrapi, secret, "", vectorTime, []byte(stamp+"."+body))
		require.NoError(t, err)
		return headers("X-Webhook-Timestamp", stamp, "X-Webhook-Signature", h.Get("X-Strapi-Signature"))
	}
	for name, c := range map[string]struct {
		header http.Header
		scheme Scheme
		code   string
	}{
		"Strapi":                        {headers("X-Strapi-Signature", sum), SchemeStrapi, ""},
		"StrapiPrefixed":                {headers("X-Strapi-Signature", "sha256="+sum), SchemeStrapi, ""},
		"Strapi256":                     {headers("X-Strapi-Signature-256", sum), SchemeStrapi, ""},
		"StrapiUppercaseHex":            {headers("X-Strapi-Signature", strings.ToUpper(sum)), SchemeStrapi, ""},
		"StrapiEmpty":                   {headers("X-Strapi-Signature", ""), "", CodeMalformed},
		"StrapiPrefixOnly":              {headers("X-Strapi-Signature", "sha256="), "", CodeMalformed},
		"StrapiPrefixTwice":             {headers("X-Strapi-Signature", "sha256=sha256="+sum), "", CodeMalformed},
		"StrapiPrefixOfSignature":       {headers("X-Strapi-Signature", sum[:62]), "", CodeMalformed},
		"StrapiLonger":                  {headers("X-Strapi-Signature", sum+"00"), "", CodeMalformed},
		"StrapiNotHex":                  {headers("X-Strapi-Signature", "zz"+sum[2:]), "", CodeMalformed},
		"StrapiWrong":                   {headers("X-Strapi-Signature", "00"+sum[2:]), "", CodeMismatch},
		"StrapiSHA1":                    {headers("X-Strapi-Signature", "sha1=757107ea0eb2509fc211221cce984b8a37570b6d"), "", CodeMalformed},
		"StrapiSHA1Bare":                {headers("X-Strapi-Signature", "757107ea0eb2509fc211221cce984b8a37570b6d"), "", CodeMalformed},
		"StrapiSHA1LongName":            {headers("X-Strapi-Signature", "sha1="+sum), "", CodeMalformed},
		"StrapiTwice":                   {headers("X-Strapi-Signature", sum, "X-Strapi-Signature", sum), "", CodeMalformed},
		"StrapiBothNames":               {headers("X-Strapi-Signature", sum, "X-Strapi-Signature-256", sum), "", CodeMalformed},
		"StrapiJoinedByProxy":           {headers("X-Strapi-Signature", sum+", "+sum), "", CodeMalformed},
		"StrapiEncodedBody":             {headers("X-Strapi-Signature", sum, "Content-Encoding", "br"), "", CodeMalformed},
		"Timestamped":                   {stamped, SchemeTimestamped, ""},
		"TimestampedBareHex":            {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", stampedSum[7:]), SchemeTimestamped, ""},
		"TimestampedBareHexOfOther":     {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", sum), "", CodeMismatch},
		"TimestampedPrefixTwice":        {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", "sha256="+stampedSum), "", CodeMalformed},
		"TimestampedEmpty":              {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", ""), "", CodeMalformed},
		"TimestampedMilliseconds":       {stampedAs("1614265330000"), SchemeTimestamped, ""},
		"TimestampedMillisecondsTooOld": {stampedAs("1614265029000"), "", CodeOutOfTolerance},
		"TimestampedSHA1":               {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", "sha1="+stampedSum[7:]), "", CodeMalformed},
		"TimestampedPrefixOfSignature":  {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", stampedSum[:70]), "", CodeMalformed},
		"TimestampedNoTimestamp":        {headers("X-Webhook-Signature", stampedSum), "", CodeMalformed},
		"TimestampedNoSignature":        {headers("X-Webhook-Timestamp", svixStamp), "", CodeMalformed},
		"TimestampedTwice":              {merge(stamped, headers("X-Webhook-Signature", stampedSum)), "", CodeMalformed},
		"TimestampedTwoTimestamps":      {merge(stamped, headers("X-Webhook-Timestamp", svixStamp)), "", CodeMalformed},
		"TimestampedSignatureOfBody":    {headers("X-Webhook-Timestamp", svixStamp, "X-Webhook-Signature", "sha256="+sum), "", CodeMismatch},
		"TimestampedOtherTimestamp":     {headers("X-Webhook-Timestamp", "1614265331", "X-Webhook-Signature", stampedSum), "", CodeMismatch},
		"TimestampedPlus":               {stampedAs("+1614265330"), "", CodeMalformed},
		"TimestampedLeadingZero":        {stampedAs("01614265330"), "", CodeMalformed},
		"TimestampedTooOld":             {old, "", CodeOutOfTolerance},
		"TimestampedTooNew":             {future, "", CodeOutOfTolerance},
		"TimestampedAsStrapiIsMismatch": {headers("X-Strapi-Signature", stampedSum), "", CodeMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, Config{Secrets: []string{secret}})

			got, err := v.Verify(c.header, []byte(body))

			if c.code != "" {
				requireCode(t, c.code, err)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Verified{Scheme: c.scheme}, got)
		})
	}
}

func TestVerifier_Verify_SeveralSchemes(t *testing.T) {
	t.Parallel()
	const token = "a-static-token-of-a-stock-strapi"
	sign := func(s Scheme, secret string) http.Header { return mustSign(t, s, secret, svixID, vectorTime, svixBody) }
	standard, stamped := sign(SchemeStandard, svixSecret), sign(SchemeTimestamped, svixSecret)
	body, bearer := sign(SchemeStrapi, svixSecret), sign(SchemeToken, token)
	forgedStandard, forgedBody := sign(SchemeStandard, "guess"), sign(SchemeStrapi, "guess")
	all := []Scheme{SchemeStrapi, SchemeStandard, SchemeTimestamped}
	for name, c := range map[string]struct {
		accepted []Scheme
		token    string
		header   http.Header
		scheme   Scheme
		code     string
	}{
		"StrongestWins":             {all, token, merge(body, bearer, stamped, standard), SchemeStandard, ""},
		"SecondStrongestWins":       {all, token, merge(bearer, body, stamped), SchemeTimestamped, ""},
		"ThirdStrongestWins":        {all, token, merge(bearer, body), SchemeStrapi, ""},
		"TokenAlone":                {all, token, bearer, SchemeToken, ""},
		"TokenNotNeeded":            {all, token, standard, SchemeStandard, ""},
		"AllMustPass":               {all, token, merge(standard, forgedBody), "", CodeMismatch},
		"AllMustPassOtherWay":       {all, token, merge(forgedStandard, body), "", CodeMismatch},
		"TokenMustPassToo":          {all, token, merge(standard, headers("Authorization", "Bearer wrong")), "", CodeMismatch},
		"PartOfASetCounts":          {all, "", merge(body, headers("webhook-id", svixID)), "", CodeMalformed},
		"BasicAuthorizationCounts":  {all, token, merge(standard, headers("Authorization", "Basic eDp5")), "", CodeMalformed},
		"AuthorizationTwice":        {all, token, merge(bearer, bearer), "", CodeMalformed},
		"AuthorizationEmpty":        {all, token, headers("Authorization", "Bearer "), "", CodeMalformed},
		"AuthorizationOffIsIgnored": {all, "", merge(standard, headers("Authorization", "Bearer wrong")), SchemeStandard, ""},
		"AuthorizationOffAlone":     {all, "", bearer, "", CodeMissing},
		"NotAcceptedIsIgnored":      {[]Scheme{SchemeStandard}, "", merge(standard, forgedBody), SchemeStandard, ""},
		"NotAcceptedAlone":          {[]Scheme{SchemeStandard}, "", body, "", CodeMissing},
		"WeakerIsNotDowngraded":     {all, "", merge(body, headers("webhook-signature", svixSignature)), "", CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, Config{Schemes: c.accepted, Secrets: []string{svixSecret}, Token: c.token})

			got, err := v.Verify(c.header, []byte(svixBody))

			if c.code != "" {
				requireCode(t, c.code, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.scheme, got.Scheme)
			require.Equal(t, c.scheme == SchemeStandard, got.DeliveryID == svixID)
		})
	}
}

func TestVerifier_Verify_AcceptsEachSecretAndToken(t *testing.T) {
	t.Parallel()
	v := mustVerifier(t, Config{Secrets: []string{"new-secret", svixSecret}, Token: "token-new,token-old"})
	for _, scheme := range []Scheme{SchemeStandard, SchemeTimestamped, SchemeStrapi} {
		for _, secret := range []string{"new-secret", svixSecret} {
			got, err := v.Verify(mustSign(t, scheme, secret, "msg_1", vectorTime, svixBody), []byte(svixBody))
			require.NoError(t, err)
			require.Equal(t, scheme, got.Scheme)
		}
		_, err := v.Verify(mustSign(t, scheme, "retired", "msg_1", vectorTime, svixBody), []byte(svixBody))
		requireCode(t, CodeMismatch, err)
	}
	for _, token := range []string{"Bearer token-new", "bearer token-old", "BEARER token-old"} {
		_, err := v.Verify(headers("Authorization", token), nil)
		require.NoError(t, err)
	}
	for _, token := range []string{"Bearer token-new,token-old", "Bearer token-ne", "Bearer  token-new", "Bearer token-new "} {
		_, err := v.Verify(headers("Authorization", token), nil)
		requireCode(t, CodeMismatch, err)
	}
}

func TestVerifier_Verify_TokenOnly(t *testing.T) {
	t.Parallel()
	v := mustVerifier(t, Config{Token: "token"})
	got, err := v.Verify(headers("Authorization", "Bearer token", "X-Strapi-Signature", "cannot be checked"), nil)
	require.NoError(t, err)
	require.Equal(t, Verified{Scheme: SchemeToken}, got)
	_, err = v.Verify(svix(), []byte(svixBody))
	requireCode(t, CodeMissing, err)
}

func TestVerifier_Verify_Tolerance(t *testing.T) {
	t.Parallel()
	v := mustVerifier(t, Config{Secrets: []string{"s"}, Tolerance: time.Second})
	for shift, ok := range map[time.Duration]bool{-2 * time.Second: false, -time.Second: true, 0: true, time.Second: true, 2 * time.Second: false} {
		_, err := v.Verify(mustSign(t, SchemeTimestamped, "s", "", vectorTime.Add(shift), "x"), []byte("x"))
		if ok {
			require.NoError(t, err, shift)
		} else {
			requireCode(t, CodeOutOfTolerance, err)
		}
	}
}

// What needs no body is refused before there is one, and a body in pieces is the body.
func TestVerifier_Begin(t *testing.T) {
	t.Parallel()
	const token = "a-static-token-of-a-stock-strapi"
	v := mustVerifier(t, Config{Secrets: []string{"other", svixSecret}, Token: token})
	for _, c := range []struct {
		header http.Header
		code   string
	}{
		{http.Header{}, CodeMissing},
		{svix("webhook-signature", "v1,"), CodeMalformed},
		{headers("Authorization", "Bearer wrong"), CodeMismatch},
		{merge(svix(), headers("X-Strapi-Signature", "")), CodeMalformed},
	} {
		_, err := v.Begin(c.header)
		requireCode(t, c.code, err)
	}
	all := merge(svix(), mustSign(t, SchemeStrapi, svixSecret, "", vectorTime, svixBody), headers("Authorization", "Bearer "+token))
	for _, size := range []int{1, 7, len(svixBody)} {
		body, err := v.Begin(all)
		require.NoError(t, err)
		for piece := range slices.Chunk([]byte(svixBody), size) {
			_, err := body.Write(piece)
			require.NoError(t, err)
		}
		got, err := body.End()
		require.NoError(t, err)
		require.Equal(t, Verified{SchemeStandard, svixID}, got)
	}
	cut, err := v.Begin(all)
	require.NoError(t, err)
	_, _ = cut.Write([]byte(svixBody[:len(svixBody)-1]))
	_, err = cut.End()
	requireCode(t, CodeMismatch, err)
}

func TestNewVerifier_Refuses(t *testing.T) {
	t.Parallel()
	const canary = "canary"
	for name, c := range map[string]struct {
		config Config
		text   string
	}{
		"Nothing":           {Config{}, "neither a secret nor a token"},
		"EmptySecret":       {Config{Secrets: []string{canary, ""}}, "secret 2: the webhook secret is empty"},
		"EmptyWithToken":    {Config{Secrets: []string{""}, Token: canary}, "secret 1: the webhook secret is empty"},
		"EmptyBase64":       {Config{Secrets: []string{"whsec_"}}, "after whsec_ is empty"},
		"BadBase64":         {Config{Secrets: []string{"whsec_" + canary + "!"}}, "not standard base64"},
		"EmptyTokenInList":  {Config{Token: canary + ",,x"}, "token 2 is empty"},
		"TokenWithSpace":    {Config{Token: canary + " x"}, "token 1 is empty or has"},
		"UnknownScheme":     {Config{Secrets: []string{canary}, Schemes: []Scheme{"sha1"}}, `unknown scheme "sha1"`},
		"TokenAsScheme":     {Config{Secrets: []string{canary}, Schemes: []Scheme{SchemeToken}}, `unknown scheme "token"`},
		"NegativeTolerance": {Config{Secrets: []string{canary}, Tolerance: -1}, "the tolerance is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewVerifier(c.config)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func TestSign_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scheme     Scheme
		secret, id string
		at         time.Time
		text       string
	}{
		"EmptySecret":   {SchemeStrapi, "", "", vectorTime, "the webhook secret is empty"},
		"EmptyID":       {SchemeStandard, "s", "", vectorTime, "visible ASCII"},
		"DotInID":       {SchemeStandard, "s", "a.b", vectorTime, "without a dot"},
		"Before1970":    {SchemeTimestamped, "s", "", time.Time{}, "before 1970"},
		"UnknownScheme": {"sha1", "s", "", vectorTime, `unknown scheme "sha1"`},
		"EmptyToken":    {SchemeToken, "", "", vectorTime, "visible ASCII"},
		"TokenNewline":  {SchemeToken, "a\r\nb", "", vectorTime, "visible ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Sign(c.scheme, c.secret, c.id, c.at, nil)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	key, err := ParseSecret("whsec_AAECAw==")
	require.NoError(t, err)
	require.Equal(t, []byte{0, 1, 2, 3}, key)
	key, err = ParseSecret("AAECAw==")
	require.NoError(t, err)
	require.Equal(t, []byte("AAECAw=="), key)
	for _, bad := range []string{"", "whsec_", "whsec_AAECAw", "whsec_AAECAx==", "whsec_-_-_"} {
		_, err = ParseSecret(bad)
		require.Error(t, err, bad)
	}
}
