package aws

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// List prices of US East (N. Virginia) in US dollars; docs/aws.md says of when.
const (
	hours = 730

	fargateCPU, fargateGB = 0.03238, 0.00356
	nlbHour, nlcuHour     = 0.0225, 0.006
	nlcuTLS               = 3000 // open connections
	redisHour             = 0.1264
	natHour               = 0.045

	connectionMinute = 0.25e-6
	message          = 1.00e-6
	messageBeyond    = 0.80e-6
	manyMessages     = 1e9

	roundTrip = 30.0 // seconds between those of a socket
)

// size is what a number of sockets needs.
type size struct {
	sockets, gateways, services, serviceCPU, redis float64
}

var sizes = []size{
	{10_000, 2, 2, 0.5, 2},
	{100_000, 6, 2, 0.5, 2},
	{1_000_000, 50, 4, 1, 8},
}

// costOf is a row of the table of costs: a name, and what it costs for a size.
type costOf struct {
	name string
	of   func(size) float64
}

// costs are what Boreas consists of.
var costs = []costOf{
	{"gateways", func(s size) float64 { return task(1) * s.gateways }},
	{"services", func(s size) float64 { return task(s.serviceCPU) * s.services }},
	{"Redis", func(s size) float64 { return redisHour * hours * s.redis }},
	{"load balancer", func(s size) float64 { return (nlbHour + s.sockets/nlcuTLS*nlcuHour) * hours }},
	{"NAT", func(size) float64 { return natHour * hours }},
}

// task is a month of a task with twice as many GB as vCPUs.
func task(cpu float64) float64 { return (cpu*fargateCPU + 2*cpu*fargateGB) * hours }

func boreas(s size) (sum float64) {
	for _, row := range costs {
		sum += row.of(s)
	}
	return sum
}

func silent(s size) float64 { return s.sockets * hours * 60 * connectionMinute }

func messages(s size) float64 {
	n := s.sockets * hours * 3600 / roundTrip * 2
	return math.Min(n, manyMessages)*message + math.Max(n-manyMessages, 0)*messageBeyond
}

// dollars has commas between thousands.
func dollars(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return "$" + s
}

// TestCostsAreRight calculates the table of costs in docs/aws.md again.
func TestCostsAreRight(t *testing.T) {
	text := readFile(t, "docs/aws.md")
	for _, row := range append(costs,
		costOf{"**Boreas**", boreas},
		costOf{"**API Gateway**", func(s size) float64 { return silent(s) + messages(s) }},
		costOf{"API Gateway, all sockets silent", silent}) {
		cells := []string{row.name}
		for _, s := range sizes {
			cells = append(cells, dollars(row.of(s)))
		}
		if want := "| " + strings.Join(cells, " | ") + " |\n"; !strings.Contains(text, want) {
			t.Errorf("docs/aws.md lacks\n%s", want)
		}
	}
	for _, format := range []struct {
		row   string
		value func(size) float64
	}{
		{"| gateways, 1 vCPU and 2 GB each | %v | %v | %v |", func(s size) float64 { return s.gateways }},
		{"| Redis nodes | %v | %v | %v |", func(s size) float64 { return s.redis }},
	} {
		want := fmt.Sprintf(format.row, format.value(sizes[0]), format.value(sizes[1]), format.value(sizes[2]))
		if !strings.Contains(text, want) {
			t.Errorf("docs/aws.md lacks\n%s", want)
		}
	}
}

// TestDocumentedTimesAreRight compares the table of the drain with the templates.
func TestDocumentedTimesAreRight(t *testing.T) {
	text := readFile(t, "docs/aws.md")
	row := func(format string, value func(c object, s stack) string) {
		var cells []string
		for _, drain := range []string{"quick", "normal", "slow"} {
			s := deploy(t, map[string]map[string]string{"gateway.yaml": {"Drain": drain}})["gateway.yaml"]
			cells = append(cells, strings.TrimSuffix(value(container(t, s), s), "s")+" s")
		}
		if want := format + " | " + strings.Join(cells, " | ") + " |"; !strings.Contains(text, want) {
			t.Errorf("docs/aws.md lacks %q", want)
		}
	}
	row("(`BOREAS_DRAIN_WINDOW`)", func(c object, _ stack) string { return environment(c)["BOREAS_DRAIN_WINDOW"] })
	row("(`BOREAS_STOP_TIMEOUT`); the process ends within 5 s more", func(c object, _ stack) string { return environment(c)["BOREAS_STOP_TIMEOUT"] })
	row("(`StopTimeout`; Fargate allows 120 s)", func(c object, _ stack) string { return fmt.Sprint(c["StopTimeout"]) })
	row("(deregistration delay)", func(_ object, s stack) string {
		return pairs(s.only("AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroupAttributes"])["deregistration_delay.timeout_seconds"]
	})
}

var (
	deployCommand = regexp.MustCompile(`(?s)aws cloudformation deploy .*?deploy/aws/(\w+\.yaml)(.*?)(?:\naws|\n` + "```" + `)`)
	override      = regexp.MustCompile(`\s(\w+)=\S+`)
	inText        = regexp.MustCompile("`(\\w+)=[\\w.-]+`")
)

// TestDocumentedCommandsFit: the commands name templates and parameters that exist,
// and ask for the right to make roles where roles are made.
func TestDocumentedCommandsFit(t *testing.T) {
	text := readFile(t, "docs/aws.md")
	var deployed []string
	parameters := map[string]bool{}
	rest := text
	for {
		m := deployCommand.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		name, options := rest[m[2]:m[3]], rest[m[4]:m[5]]
		rest = rest[m[5]:]
		deployed = append(deployed, name)
		tmpl := load(t, name)
		for p := range tmpl.Parameters {
			parameters[p] = true
		}
		for _, o := range override.FindAllStringSubmatch(options, -1) {
			if tmpl.Parameters[o[1]] == nil {
				t.Errorf("%s has no parameter %s", name, o[1])
			}
		}
		roles := strings.Contains(tmpl.text, "Type: AWS::IAM::Role")
		if roles != strings.Contains(options, "CAPABILITY_IAM") {
			t.Errorf("%s makes roles: %v, not so the command", name, roles)
		}
	}
	if fmt.Sprint(deployed) != fmt.Sprint(order) {
		t.Errorf("the commands deploy %v, the order is %v", deployed, order)
	}
	for _, m := range inText.FindAllStringSubmatch(text, -1) {
		if !parameters[m[1]] {
			t.Errorf("docs/aws.md speaks of a parameter %s", m[1])
		}
	}
}
