package realstrapi_test

import "net/http"

// deal is what most scenarios start from, without its end.
const deal = `"deal_value":120000.5,"currency":"THB","deal_status":"active","stage":"proposal","probability":40,` +
	`"recognition_start_month":"2027-01-01","recognition_end_month":"2027-06-01","owner":"ada"`

func dealValues(name string) values {
	return values{"name": name, "deal_value": 800, "deal_status": "active", "stage": "negotiation", "expected_close_date": "2027-03-15"}
}

// scenarios returns the steps to do in this order to one Strapi that is empty at the start. The
// real one goes on with media, which the fake does not have.
func scenarios() []step {
	var all []step
	for _, part := range [][]step{restWrites(), managerWrites(), publications(), relations(), deletions(), reads(), dealboxReads(), refusals(), turns()} {
		all = append(all, part...)
	}
	return all
}

func restWrites() []step {
	return []step{
		{name: "test trigger", do: func(s *session) { s.trigger() }},
		{name: "create a deal", do: func(s *session) {
			s.post("a", "pipeline-deals", "", `{"deal_id":"D-1","name":"Deal A – Ünïcode \"quotes\" ไทย",`+deal+`}`)
		}},
		wholeType(dealType),
		{name: "create a deal with a name alone", do: func(s *session) { s.post("minimal", "pipeline-deals", "", `{"name":"Minimal"}`) }},
		{name: "create a billing of the deal", do: func(s *session) {
			s.post("b1", "billings", "", `{"billing_id":"B-1","amount":1000.1,"invoice_date":"2027-02-01","billing_status":"sent","deal":$a}`)
		}},
		wholeType(billingType),
		{name: "create another billing of the deal", do: func(s *session) {
			s.post("b2", "billings", "", `{"billing_id":"B-2","amount":2000,"recognition_month":"2027-03-01","billing_status":"sent","deal":$a}`)
		}},
		{name: "create a billing of another type", do: func(s *session) {
			s.post("c1", "construction-billings", "", `{"billing_id":"C-1","total":5000.55,"invoice_date":"2027-02-10","collected_date":"2027-02-20","deal":$a}`)
		}},
		wholeType(constructionType),
		{name: "update the deal", do: func(s *session) {
			s.put("a", "pipeline-deals", "", `{"probability":60,"stage":"negotiation","deal_value":1000.125}`)
		}},
		{name: "update the deal with the same values", do: func(s *session) {
			s.put("a", "pipeline-deals", "", `{"probability":60,"stage":"negotiation"}`)
		}},
		{name: "update a billing", do: func(s *session) {
			s.put("b1", "billings", "", `{"collected_date":"2027-02-20","billing_status":"collected"}`)
		}},
		{name: "set values to null", do: func(s *session) { s.put("b1", "billings", "", `{"amount":null,"collected_date":null}`) }},
		{name: "update a billing of another type", do: func(s *session) { s.put("c1", "construction-billings", "", `{"total":6000}`) }},
	}
}

func managerWrites() []step {
	return []step{
		{name: "content manager: create a deal", do: func(s *session) { s.ids["cm"] = s.create(deals, dealValues("CM deal")) }},
		{name: "content manager: update the deal", do: func(s *session) {
			s.save(deals, s.ids["cm"], values{"name": "CM deal 2", "probability": 55})
		}},
		{name: "content manager: publish the deal", only: withDrafts, do: func(s *session) { s.publish(deals, s.ids["cm"], values{"probability": 56}) }},
		{name: "content manager: create a billing of the deal", do: func(s *session) {
			s.ids["cmb"] = s.create(billings, values{
				"amount": 5, "billing_status": "sent",
				"deal": values{"connect": []values{{"documentId": s.ids["cm"]}}},
			})
		}},
		{name: "content manager: publish the billing", only: withDrafts, do: func(s *session) { s.publish(billings, s.ids["cmb"], values{}) }},
		{name: "content manager: clone the deal", do: func(s *session) {
			s.ids["clone"] = s.clone(deals, s.ids["cm"], values{"name": "CM clone"})
		}},
		{name: "content manager: publish the clone", only: withDrafts, do: func(s *session) { s.publish(deals, s.ids["clone"], values{}) }},
	}
}

func publications() []step {
	return []step{
		{name: "create a draft", only: withDrafts, do: func(s *session) {
			s.post("draft", "pipeline-deals", "?status=draft", `{"name":"Draft",`+deal+`}`)
		}},
		{name: "update the draft", only: withDrafts, do: func(s *session) {
			s.put("draft", "pipeline-deals", "?status=draft", `{"probability":80}`)
		}},
		{name: "bulk publish", only: withDrafts, do: func(s *session) { s.bulk("bulkPublish", deals, s.ids["draft"]) }},
		{name: "save a draft after publication", only: withDrafts, do: func(s *session) {
			s.put("draft", "pipeline-deals", "?status=draft", `{"name":"Draft saved later","deal_value":1}`)
		}},
		{name: "read both versions", only: withDrafts, do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals/$draft", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$draft?status=draft", "")
		}},
		{name: "discard the draft", only: withDrafts, do: func(s *session) { s.discard(deals, s.ids["draft"]) }},
		{name: "unpublish", only: withDrafts, do: func(s *session) { s.unpublish(deals, s.ids["draft"]) }},
		{name: "read what is unpublished", only: withDrafts, do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals/$draft", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$draft?status=draft", "")
		}},
		{name: "publish again", only: withDrafts, do: func(s *session) { s.publish(deals, s.ids["draft"], values{}) }},
		{name: "bulk unpublish", only: withDrafts, do: func(s *session) { s.bulk("bulkUnpublish", deals, s.ids["draft"]) }},
		{name: "publish by a PUT", only: withDrafts, do: func(s *session) { s.put("draft", "pipeline-deals", "", `{"probability":20}`) }},
	}
}

func relations() []step {
	return []step{
		{name: "take a billing from its deal, on the billing's side", do: func(s *session) { s.put("b1", "billings", "", `{"deal":null}`) }},
		{name: "set the billings, on the deal's side", do: func(s *session) { s.put("a", "pipeline-deals", "", `{"billings":{"set":[$b1,$b2]}}`) }},
		{name: "disconnect a billing, on the deal's side", do: func(s *session) {
			s.put("a", "pipeline-deals", "", `{"billings":{"disconnect":[$b1]}}`)
		}},
		{name: "connect a billing, on the deal's side", do: func(s *session) {
			s.put("minimal", "pipeline-deals", "", `{"billings":{"connect":[$b1]}}`)
		}},
		{name: "move a billing to another deal, on the billing's side", do: func(s *session) { s.put("b1", "billings", "", `{"deal":$a}`) }},
		{name: "set the billings of another type, on the deal's side", do: func(s *session) {
			s.put("minimal", "pipeline-deals", "", `{"construction_billings":[$c1]}`)
		}},
		{name: "read the relations on both sides", do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals?sort=name&populate=*", "")
			s.rest(http.MethodGet, "/api/billings?sort=billing_id&populate[0]=deal", "")
		}},
	}
}

func deletions() []step {
	return []step{
		{name: "delete a deal that has billings", do: func(s *session) { s.rest(http.MethodDelete, "/api/pipeline-deals/$minimal", "") }},
		{name: "read the billings of the deleted deal", do: func(s *session) {
			s.rest(http.MethodGet, "/api/construction-billings/$c1?populate=*", "")
		}},
		{name: "delete a billing", do: func(s *session) { s.rest(http.MethodDelete, "/api/billings/$b2", "") }},
		{name: "content manager: delete a deal", do: func(s *session) { s.remove(deals, s.ids["cm"]) }},
		{name: "create two to delete", do: func(s *session) {
			s.post("x1", "pipeline-deals", "", `{"name":"X1"}`)
			s.post("x2", "pipeline-deals", "", `{"name":"X2"}`)
		}},
		{name: "content manager: bulk delete", do: func(s *session) { s.bulk("bulkDelete", deals, s.ids["x1"], s.ids["x2"]) }},
		{name: "delete what is not there", do: func(s *session) {
			s.rest(http.MethodDelete, "/api/pipeline-deals/$minimal", "")
			s.rest(http.MethodDelete, "/api/pipeline-deals/1", "")
		}},
	}
}

// reads returns the requests of a client that reconciles, and those that surprise it.
func reads() []step {
	get := func(path string) step {
		return step{name: "GET " + path, do: func(s *session) { s.rest(http.MethodGet, path, "") }}
	}
	return []step{
		{name: "create some for the pages", do: func(s *session) {
			for _, id := range []string{"P-1", "P-2", "P-3", "P-4"} {
				s.post("p", "construction-billings", "", `{"billing_id":"`+id+`"}`)
			}
		}},
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=1000"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=2&pagination[page]=3"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=2&pagination[page]=4"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=2&pagination[page]=0"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=0"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[pageSize]=2&pagination[withCount]=false"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[start]=4&pagination[limit]=1"),
		get("/api/construction-billings?sort=billing_id&fields[0]=billing_id&pagination[limit]=-1"),
		get("/api/construction-billings?sort=billing_id:desc&fields[0]=billing_id&fields[1]=updatedAt&pagination[pageSize]=1"),
		get("/api/pipeline-deals?filters[documentId][$in][0]=$a&fields[0]=name&populate[billings][fields][0]=documentId"),
		get("/api/pipeline-deals?filters[documentId][$gt]=0&filters[documentId][$lte]=zzzz&fields[0]=name&sort=name"),
		get("/api/pipeline-deals?filters[updatedAt][$gte]=2020-01-01T00:00:00.000Z&sort[0]=name:asc&sort[1]=documentId:asc&fields[0]=name"),
		get("/api/pipeline-deals?filters[updatedAt][$gte]=2120-01-01T00:00:00.000Z"),
		get("/api/pipeline-deals?status=draft&sort=name&fields[0]=name&fields[1]=publishedAt"),
		get("/api/pipeline-deals?status=published&sort=name&fields[0]=name&fields[1]=publishedAt"),
		get("/api/pipeline-deals?locale=&sort=name&fields[0]=name"),
		get("/api/pipeline-deals/$a?fields[0]=name"),
		get("/api/billings?filters[deal][documentId][$eq]=$a&sort=billing_id&fields[0]=billing_id"),
		get("/api/billings?filters[deal][documentId][$null]=true&sort=billing_id&fields[0]=billing_id"),
		get("/api/pipeline-deals/?fields[0]=name&sort=name"),
	}
}

// refusals returns the requests that the REST API refuses.
func refusals() []step {
	refused := func(method, path, data string) step {
		return step{name: method + " " + path + " " + data, do: func(s *session) { s.rest(method, path, data) }}
	}
	as := func(token, method, path string) step {
		return step{name: method + " " + path + " token " + token, do: func(s *session) {
			body := ""
			if method != http.MethodGet {
				body = `{"data":{"name":"refused"}}`
			}
			s.ask(token, method, path, body)
		}}
	}
	return []step{
		refused("GET", "/api/pipeline-deals/doesnotexistdoesnotexist", ""),
		refused("GET", "/api/pipeline-deals/1", ""),
		refused("GET", "/api/nothings", ""),
		refused("GET", "/api/nothings/abc", ""),
		refused("GET", "/nothing", ""),
		refused("GET", "/api/pipeline-deals?sort=nothing", ""),
		refused("GET", "/api/pipeline-deals?fields[0]=nothing", ""),
		refused("GET", "/api/pipeline-deals?populate[0]=nothing", ""),
		refused("GET", "/api/pipeline-deals?populate[nothing]=*", ""),
		refused("GET", "/api/pipeline-deals?populate[billings][fields][0]=nothing", ""),
		refused("GET", "/api/pipeline-deals?filters[nothing][$eq]=1", ""),
		refused("GET", "/api/billings?filters[deal][nothing][$eq]=1", ""),
		refused("GET", "/api/pipeline-deals?filters[name][$like]=1", ""),
		refused("GET", "/api/pipeline-deals?filters[deal_value][$gte]=much", ""),
		refused("GET", "/api/pipeline-deals?pagination[page]=1&pagination[limit]=1", ""),
		refused("GET", "/api/pipeline-deals?filters[updatedAt][$gte]=yesterday", ""),
		refused("GET", "/api/pipeline-deals?status=nothing", ""),
		refused("PUT", "/api/pipeline-deals/doesnotexistdoesnotexist", `{"name":"x"}`),
		refused("PATCH", "/api/pipeline-deals/$a", `{"name":"x"}`),
		refused("POST", "/api/pipeline-deals", ""),
		refused("POST", "/api/pipeline-deals", `{"nothing":1}`),
		refused("POST", "/api/pipeline-deals", `{"deal_value":"much"}`),
		refused("POST", "/api/pipeline-deals", `{"deal_value":123456789.01}`),
		refused("POST", "/api/pipeline-deals", `{"expected_close_date":"soon"}`),
		refused("POST", "/api/pipeline-deals", `{"name":5}`),
		refused("POST", "/api/pipeline-deals", `{"name":"\u0000"}`),
		refused("POST", "/api/billings", `{"deal":"doesnotexistdoesnotexist"}`),
		refused("POST", "/api/billings", `{"deal":{"connect":["doesnotexistdoesnotexist"]}}`),
		as("none", "GET", "/api/pipeline-deals"),
		as("bad", "GET", "/api/pipeline-deals"),
		as("read", "GET", "/api/pipeline-deals?filters[name]=nobody"),
		as("read", "POST", "/api/pipeline-deals"),
		as("read", "PUT", "/api/pipeline-deals/$a"),
		as("read", "DELETE", "/api/pipeline-deals/$a"),
		as("none", "GET", "/api/nothings"),
	}
}
