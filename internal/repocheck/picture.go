package main

import (
	"fmt"
	"html"
	"strings"
)

const (
	layerHeight = 78.0
	boxHeight   = 32.0
	headHeight  = 74.0
	footLine    = 19.0
	footLetters = 7.3
)

// draw returns the graph as an SVG, and the names of the packages that are not part
// of it below.
func draw(g graph, others []string) []byte {
	l := arrange(g.reduced())
	width := max(l.width, 640)
	foot := wrap("Not part of the service: "+strings.Join(labels(others), ", ")+".", int((width-2*margin)/footLetters))
	height := headHeight + float64(len(l.layers))*layerHeight + float64(len(foot)+1)*footLine

	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="Which package imports which">`+"\n", width, height, width, height)
	svg.WriteString(`<!-- Drawn by make picture; do not edit. -->
<style>
  text { font: 13.5px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1b2733 }
  text.note { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #52606d }
  rect.box { fill: #eef4fb; stroke: #5b7fa6 }
  rect.top { fill: #1f4e79; stroke: #1f4e79 }
  text.top { fill: #fff }
  path { fill: none; stroke: #7b8794; stroke-width: 1.3 }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0.5 L7,4 L0,7.5 Z" style="fill:#7b8794;stroke:none"/></marker></defs>
`)
	fmt.Fprintf(&svg, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	note(&svg, 28, "An arrow: imports. Each package stands below all that import it.")
	note(&svg, 28+footLine, "An import is left out when another import leads to the same package, too.")
	for _, arrow := range l.arrows {
		drawArrow(&svg, arrow)
	}
	for _, layer := range l.layers {
		for _, n := range layer {
			drawBox(&svg, n)
		}
	}
	for i, line := range foot {
		note(&svg, headHeight+float64(len(l.layers))*layerHeight+float64(i)*footLine, line)
	}
	svg.WriteString("</svg>\n")
	return []byte(svg.String())
}

func note(svg *strings.Builder, y float64, text string) {
	fmt.Fprintf(svg, `<text class="note" x="%.0f" y="%.0f">%s</text>`+"\n", margin, y, html.EscapeString(text))
}

func drawBox(svg *strings.Builder, n *node) {
	if n.name == "" {
		return
	}
	class := "box"
	if len(n.above) == 0 {
		class = "top"
	}
	fmt.Fprintf(svg, `<rect class="%s" x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="5"/>`, class, n.x-n.width/2, top(n), n.width, boxHeight)
	fmt.Fprintf(svg, `<text class="%s" x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n", class, n.x, top(n)+boxHeight/2+4.7, html.EscapeString(label(n.name)))
}

// drawArrow draws a line through the bends, straight through their layers and
// curved between them.
func drawArrow(svg *strings.Builder, arrow []*node) {
	x, y := arrow[0].x, top(arrow[0])+boxHeight
	fmt.Fprintf(svg, `<path marker-end="url(#tip)" d="M%.0f,%.0f`, x, y)
	for _, n := range arrow[1:] {
		half := (top(n) - y) / 2
		fmt.Fprintf(svg, ` C%.0f,%.0f %.0f,%.0f %.0f,%.0f`, x, y+half, n.x, top(n)-half, n.x, top(n))
		x, y = n.x, top(n)
		if n.name == "" {
			y += boxHeight
			fmt.Fprintf(svg, ` V%.0f`, y)
		}
	}
	svg.WriteString(`"/>` + "\n")
}

func top(n *node) float64 { return headHeight + float64(n.layer)*layerHeight }

// wrap breaks a text into lines of at most so many letters.
func wrap(text string, letters int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		if *last != "" && len(*last)+1+len(word) > letters {
			lines = append(lines, word)
			continue
		}
		*last = strings.TrimSpace(*last + " " + word)
	}
	return lines
}
