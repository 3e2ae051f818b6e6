package main

import (
	"cmp"
	"math"
	"slices"
)

// node is a box of the drawing, or a bend of an arrow that passes a layer.
type node struct {
	name  string // empty for a bend
	layer int
	width float64
	x     float64 // of its middle
	above []*node
	below []*node
}

// layout is a drawing without colours: layers from the top down, each from the
// left to the right.
type layout struct {
	layers [][]*node
	arrows [][]*node // from a box over bends to a box
	width  float64
}

const (
	letterWidth = 8.1 // of the monospaced letters of the boxes, at 13.5 px
	boxPadding  = 24.0
	bendWidth   = 10.0
	gap         = 26.0
	margin      = 30.0
	sweeps      = 40
)

// arrange gives every package its place. The same graph always gets the same drawing.
func arrange(g graph) *layout {
	l := &layout{}
	layer := g.layers()
	boxes := map[string]*node{}
	for _, name := range g.names() {
		boxes[name] = l.add(&node{name: name, layer: layer[name], width: float64(len(label(name)))*letterWidth + boxPadding})
	}
	for _, name := range g.names() {
		for _, imported := range g[name] {
			l.connect(boxes[name], boxes[imported])
		}
	}
	l.order()
	l.spread()
	return l
}

// connect makes an arrow, with a bend in each layer that it passes.
func (l *layout) connect(from, to *node) {
	arrow := []*node{from}
	for last := from; last.layer+1 < to.layer; last = arrow[len(arrow)-1] {
		arrow = append(arrow, l.add(&node{layer: last.layer + 1, width: bendWidth}))
	}
	arrow = append(arrow, to)
	for i, n := range arrow[1:] {
		arrow[i].below = append(arrow[i].below, n)
		n.above = append(n.above, arrow[i])
	}
	l.arrows = append(l.arrows, arrow)
}

func (l *layout) add(n *node) *node {
	for len(l.layers) <= n.layer {
		l.layers = append(l.layers, nil)
	}
	l.layers[n.layer] = append(l.layers[n.layer], n)
	return n
}

// order sorts each layer so that few arrows cross: by the middle of the
// neighbours, down and up in turn, and keeps the best that was seen.
func (l *layout) order() {
	best, fewest := l.copyLayers(), l.crossings()
	for sweep := range sweeps {
		l.sweepOnce(sweep%2 == 0)
		l.swapNeighbours()
		if c := l.crossings(); c < fewest {
			best, fewest = l.copyLayers(), c
		}
	}
	l.layers = best
}

func (l *layout) copyLayers() [][]*node {
	var layers [][]*node
	for _, layer := range l.layers {
		layers = append(layers, slices.Clone(layer))
	}
	return layers
}

func (l *layout) sweepOnce(down bool) {
	for i := range l.layers {
		if !down {
			i = len(l.layers) - 1 - i
		}
		place := l.places()
		middle := func(n *node) float64 {
			neighbours := n.above
			if !down {
				neighbours = n.below
			}
			if len(neighbours) == 0 {
				return place[n]
			}
			sum := 0.0
			for _, m := range neighbours {
				sum += place[m]
			}
			return sum / float64(len(neighbours))
		}
		slices.SortStableFunc(l.layers[i], func(a, b *node) int { return cmp.Compare(middle(a), middle(b)) })
	}
}

// swapNeighbours exchanges two that stand side by side wherever that saves a crossing.
func (l *layout) swapNeighbours() {
	for _, layer := range l.layers {
		for i := 0; i+1 < len(layer); i++ {
			before := l.crossings()
			layer[i], layer[i+1] = layer[i+1], layer[i]
			if l.crossings() >= before {
				layer[i], layer[i+1] = layer[i+1], layer[i]
			}
		}
	}
}

// crossings counts the pairs of arrows that cross between two layers.
func (l *layout) crossings() int {
	place := l.places()
	count := 0
	for _, layer := range l.layers {
		var lines [][2]float64
		for _, n := range layer {
			for _, m := range n.below {
				lines = append(lines, [2]float64{place[n], place[m]})
			}
		}
		for i, a := range lines {
			for _, b := range lines[i+1:] {
				if (a[0]-b[0])*(a[1]-b[1]) < 0 {
					count++
				}
			}
		}
	}
	return count
}

// places returns where each node stands in its layer, from 0 to 1.
func (l *layout) places() map[*node]float64 {
	place := map[*node]float64{}
	for _, layer := range l.layers {
		for i, n := range layer {
			place[n] = (float64(i) + 0.5) / float64(len(layer))
		}
	}
	return place
}

// spread gives each node its x: near the middle of its neighbours, in the order
// of its layer, and with a gap to the next.
func (l *layout) spread() {
	for _, layer := range l.layers {
		x := 0.0
		for _, n := range layer {
			n.x = x + n.width/2
			x += n.width + gap
		}
	}
	for sweep := range 4 * sweeps {
		for i := range l.layers {
			if sweep%2 == 1 {
				i = len(l.layers) - 1 - i
			}
			pull(l.layers[i])
		}
	}
	left, right := math.Inf(1), math.Inf(-1)
	for _, layer := range l.layers {
		for _, n := range layer {
			left, right = min(left, n.x-n.width/2), max(right, n.x+n.width/2)
		}
	}
	for _, layer := range l.layers {
		for _, n := range layer {
			n.x += margin - left
		}
	}
	l.width = right - left + 2*margin
}

// pull moves a layer's nodes to where they would like to be and then apart again.
// Nodes that get too near move as one group, to the middle of where its members want to be.
func pull(layer []*node) {
	var groups []group
	for _, n := range layer {
		weight := weigh(n, n)
		groups = append(groups, group{[]*node{n}, weight, weight * (wish(n) - n.width/2), n.width})
		for len(groups) > 1 {
			a, b := groups[len(groups)-2], groups[len(groups)-1]
			if a.left()+a.width+gap <= b.left() {
				break
			}
			groups = append(groups[:len(groups)-2], a.join(b))
		}
	}
	for _, g := range groups {
		x := g.left()
		for _, n := range g.nodes {
			n.x = x + n.width/2
			x += n.width + gap
		}
	}
}

// group is nodes side by side with a gap between them.
type group struct {
	nodes  []*node
	weight float64
	wish   float64 // of where the left end should be, the sum over nodes, each by its weight
	width  float64
}

func (g group) left() float64 { return g.wish / g.weight }

func (g group) join(right group) group {
	shift := g.width + gap
	return group{
		slices.Concat(g.nodes, right.nodes), g.weight + right.weight,
		g.wish + right.wish - right.weight*shift, shift + right.width,
	}
}

// wish returns where a node would like to be: amid those above and those below.
func wish(n *node) float64 {
	sum, weights := 0.0, 0.0
	for _, m := range slices.Concat(n.above, n.below) {
		sum += weigh(n, m) * m.x
		weights += weigh(n, m)
	}
	if weights == 0 {
		return n.x
	}
	return sum / weights
}

// weigh returns how much two neighbours want to stand below each other. An arrow
// that passes many layers should be straight.
func weigh(n, m *node) float64 {
	if n.name == "" && m.name == "" {
		return 12
	}
	return 1
}
