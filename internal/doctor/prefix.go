package doctor

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"

	"dealbox/internal/strapi"
)

// prefixes are what api.rest.prefix is now and then, beside what STRAPI_URL says.
var prefixes = []string{
	"/api", "/rest", "/rest/api", "/rest/v1", "/rest/v2", "/v1", "/v2", "/api/v1", "/api/v2", "/v1/api", "/api/rest",
	"/cms/api", "/strapi/api", "/backend/api", "/cms", "/strapi", "/content", "/content-api",
}

// everyRouteIsMissing reports whether Strapi answered 404 for each type: then its REST
// API is elsewhere, or every plural is wrong.
func everyRouteIsMissing(probes []typeProbe) bool {
	return !slices.ContainsFunc(probes, func(p typeProbe) bool { return strapi.KindOf(p.listErr) != strapi.MissingRoute })
}

// missingRoutes looks for the REST API at other paths of the same host.
func (d doctor) missingRoutes(ctx context.Context, probes []typeProbe) []Finding {
	address := d.config.Strapi.URL
	finding := failed(checkStrapi, address+" answers, and has none of the configured types (404)",
		"If config/api.js of Strapi sets rest.prefix, end STRAPI_URL with it, such as https://cms.example.com/rest/v2; "+
			"else correct the REST plurals in STRAPI_DEAL_TYPES and STRAPI_BILLING_TYPES, or create the types.")
	if found := d.findAPI(ctx, probes); found != "" {
		finding = failed(checkStrapi, address+" answers, but its REST API is at "+found, "Set STRAPI_URL="+found+".")
	}
	findings := []Finding{finding, skipped(checkToken, "it needs a correct STRAPI_URL, see above")}
	for _, p := range probes {
		findings = append(findings, skipped("type "+p.contentType.UID, "Strapi has no route for it, see the check strapi"),
			skipped("fields "+p.contentType.UID, "the type cannot be read"))
	}
	return findings
}

// findAPI returns the first address at which Strapi knows one of the types, or "". It
// tries all of them at once.
func (d doctor) findAPI(ctx context.Context, probes []typeProbe) string {
	addresses := otherAddresses(d.config.Strapi.URL)
	answers := make([]bool, len(addresses))
	var wait sync.WaitGroup
	for i, address := range addresses {
		wait.Go(func() { answers[i] = d.knowsATypeAt(ctx, address, probes) })
	}
	wait.Wait()
	if i := slices.Index(answers, true); i >= 0 {
		return addresses[i]
	}
	return ""
}

// otherAddresses returns /api below the address's path, then each prefix at its host.
func otherAddresses(address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	host := u.Scheme + "://" + u.Host
	addresses := []string{host + path + "/api"}
	for _, prefix := range prefixes {
		addresses = append(addresses, host+prefix)
	}
	return addresses
}

// knowsATypeAt: a token that is refused proves the route, too.
func (d doctor) knowsATypeAt(ctx context.Context, address string, probes []typeProbe) bool {
	client, err := d.strapiClientAt(address, nil)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(probes, func(p typeProbe) bool {
		err := client.CheckList(ctx, p.contentType, strapi.Query{})
		return err == nil || strapi.KindOf(err) == strapi.Refused
	})
}
