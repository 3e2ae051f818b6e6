package fakestrapi

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// maker makes up deals and billings. It only sets attributes that the types have.
type maker struct {
	rand          *rand.Rand
	now           func() time.Time
	deal, billing Type
	// deals and billings are the last numbers given.
	deals, billings int
}

var (
	companies = []string{
		"Siam Harbor Logistics", "Chao Phraya Foods", "Lanna Ceramics", "Andaman Resorts", "Isan Rice Mills",
		"Bangkok Transit Works", "Northgate Clinics", "Krungthep Steel", "Phuket Marina", "Golden Lotus Hotels",
		"Mekong Energy", "Ayutthaya Motors", "Sukhothai Silk", "Rayong Polymers", "Hua Hin Wellness",
		"Doi Coffee Roasters", "Thonburi Publishing", "Samui Ferries", "Korat Solar", "Pattaya Cold Storage",
		"Meridian Insurance", "Halvorsen & Søn", "Brückner Maschinen", "Atelier Fontaine", "Northwind Retail",
		"Kestrel Aerospace", "Blue Ridge Dairy", "Oakfield Schools", "สยามการค้า", "ไทยรุ่งเรือง",
	}
	projects = []string{
		"ERP rollout", "data platform", "support contract", "warehouse automation", "mobile app", "security audit",
		"cloud migration", "licence renewal", "training programme", "analytics pilot", "maintenance 2 years",
	}
	owners = []string{"Anong", "Bodin", "Chai", "Dao", "Ekachai", "Fah", "Greta", "Hannah"}
)

// stage is a step of the pipeline, with its usual probability in percent.
type stage struct {
	name        string
	probability int
}

var stages = []stage{
	{"prospecting", 10}, {"qualification", 25}, {"proposal", 50}, {"negotiation", 75}, {"closed-won", 100}, {"closed-lost", 0},
}

// newDeal returns a deal with the next free number.
func (m *maker) newDeal() Values {
	m.deals++
	at := stages[m.weighted(20, 22, 25, 18, 10, 5)]
	currency := []string{"THB", "USD", "EUR"}[m.weighted(85, 8, 7)]
	v := Values{
		"deal_id":    fmt.Sprintf("D-%05d", m.deals),
		"name":       pick(m.rand, companies) + " – " + pick(m.rand, projects),
		"deal_value": m.value(currency),
		"currency":   currency,
		"stage":      at.name,
		"owner":      pick(m.rand, owners),
	}
	v[m.statusName(m.deal)] = []string{"active", "inactive"}[m.weighted(88, 12)]
	if m.rand.IntN(10) > 0 { // the others go by their stage
		v["probability"] = m.probability(at)
	}
	if m.rand.IntN(20) == 0 {
		v["confidence_override"] = 5 * m.rand.IntN(21)
	}
	m.addDates(v)
	return keep(m.deal, v)
}

// addDates gives most deals a recognition window around the current month,
// some only a closing date, some nothing.
func (m *maker) addDates(v Values) {
	kind := m.weighted(84, 10, 6)
	start := m.month(m.rand.IntN(10) - 3)
	if kind == 0 {
		v["recognition_start_month"] = start.Format(dateLayout)
		v["recognition_end_month"] = start.AddDate(0, m.rand.IntN(12), 0).Format(dateLayout)
	}
	if kind <= 1 {
		v["expected_close_date"] = start.AddDate(0, 0, m.rand.IntN(28)).Format(dateLayout)
	}
}

// dealChange returns the values that change in a day: a new stage, another
// estimate, another price.
func (m *maker) dealChange(deal Entry) Values {
	switch m.weighted(40, 35, 25) {
	case 0:
		next := stages[(m.stageOf(deal)+1)%len(stages)]
		return keep(m.deal, Values{"stage": next.name, "probability": m.probability(next)})
	case 1:
		return keep(m.deal, Values{"probability": m.probability(stages[m.stageOf(deal)])})
	default:
		return keep(m.deal, Values{"deal_value": m.value(deal.Text("currency"))})
	}
}

func (m *maker) stageOf(deal Entry) int {
	for i, s := range stages {
		if s.name == deal.Text("stage") {
			return i
		}
	}
	return 0
}

func (m *maker) probability(at stage) int {
	if at.probability == 0 || at.probability == 100 {
		return at.probability
	}
	return at.probability + 5*(m.rand.IntN(5)-2)
}

// newBilling returns a billing of a part of a deal's value with the next free number; without a
// deal it belongs to none.
func (m *maker) newBilling(deal Entry) Values {
	m.billings++
	month := m.month(m.rand.IntN(7) - 3)
	v := Values{
		"billing_id":        fmt.Sprintf("B-%05d", m.billings),
		"amount":            m.part(deal.Text("deal_value")),
		"currency":          "THB",
		"invoice_date":      month.AddDate(0, 0, m.rand.IntN(28)).Format(dateLayout),
		"recognition_month": month.Format(dateLayout),
	}
	if currency := deal.Text("currency"); currency != "" {
		v["currency"] = currency
	}
	v[m.statusName(m.billing)] = "sent"
	if m.rand.IntN(3) == 0 {
		for name, value := range m.collected() {
			v[name] = value
		}
	}
	return keep(m.billing, v)
}

func (m *maker) collected() Values {
	v := Values{"collected_date": m.now().Format(dateLayout)}
	v[m.statusName(m.billing)] = "collected"
	return keep(m.billing, v)
}

func (m *maker) billingChange(billing Entry) Values {
	if m.rand.IntN(2) == 0 {
		month := m.month(m.rand.IntN(4))
		return keep(m.billing, Values{"invoice_date": month.Format(dateLayout), "recognition_month": month.Format(dateLayout)})
	}
	return keep(m.billing, Values{"amount": m.value(billing.Text("currency"))})
}

// value returns a price: 50,000 to 20 million baht, or 5,000 to 400,000 of another
// currency, some with cents.
func (m *maker) value(currency string) json.Number {
	units, cents := 50_000+100*m.rand.IntN(199_500), 0
	if currency != "THB" {
		units = 5_000 + 50*m.rand.IntN(7_900)
	}
	if m.rand.IntN(4) == 0 {
		cents = m.rand.IntN(100)
	}
	return json.Number(fmt.Sprintf("%d.%02d", units, cents))
}

// part returns a third to a twelfth of an amount.
func (m *maker) part(amount string) json.Number {
	whole, _ := strconv.ParseFloat(amount, 64)
	if whole < 100 {
		whole = 100_000
	}
	cents := int64(whole*100) / int64(3+m.rand.IntN(10))
	return json.Number(fmt.Sprintf("%d.%02d", cents/100, cents%100))
}

// month returns the first day of a month, counted from the current one.
func (m *maker) month(offset int) time.Time {
	now := m.now()
	return time.Date(now.Year(), now.Month()+time.Month(offset), 1, 0, 0, 0, 0, time.UTC)
}

// highest returns the highest number in use, as in D-00042.
func highest(all []Entry, name string) int {
	found := 0
	for _, e := range all {
		_, digits, _ := strings.Cut(e.Text(name), "-")
		if n, err := strconv.Atoi(digits); err == nil {
			found = max(found, n)
		}
	}
	return found
}

// statusName returns the name of a type's status.
func (m *maker) statusName(t Type) string {
	for _, name := range []string{"status", "deal_status", "billing_status"} {
		if t.HasAttribute(name) {
			return name
		}
	}
	return "status"
}

// weighted returns an index, chosen by weight.
func (m *maker) weighted(weights ...int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	n := m.rand.IntN(total)
	for i, w := range weights {
		if n < w {
			return i
		}
		n -= w
	}
	return len(weights) - 1
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// keep leaves out what the type does not have.
func keep(t Type, v Values) Values {
	for name := range v {
		if !t.HasAttribute(name) {
			delete(v, name)
		}
	}
	return v
}
