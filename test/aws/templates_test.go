package aws

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// order is that in which the stacks are made.
var order = []string{"network.yaml", "redis.yaml", "gateway.yaml", "service.yaml"}

// image is what only the operator can give.
const image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/boreas:1"

// deploy makes all stacks one after the other, each with the outputs of those before
// it, as docs/aws.md does. vary has parameters by template.
func deploy(t *testing.T, vary map[string]map[string]string) map[string]stack {
	t.Helper()
	stacks := map[string]stack{}
	outputs := map[string]string{"Image": image}
	for _, name := range order {
		tmpl := load(t, name)
		given := map[string]string{}
		for parameter := range tmpl.Parameters {
			if v, ok := outputs[parameter]; ok {
				given[parameter] = v
			}
		}
		maps.Copy(given, vary[name])
		s := tmpl.evaluate(given)
		for _, p := range s.problems {
			t.Errorf("%s with %v: %s", name, vary[name], p)
		}
		for output, v := range s.outputs {
			if strings.HasSuffix(output, "Arn") { // Ref gives the ARN of a secret
				v = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:" + v
			}
			outputs[output] = v
		}
		stacks[name] = s
	}
	return stacks
}

// TestTemplatesAreComplete follows every reference, and looks for what is unused.
func TestTemplatesAreComplete(t *testing.T) {
	for _, name := range templates(t) {
		tmpl := load(t, name)
		for _, p := range tmpl.problems() {
			t.Errorf("%s: %s", name, p)
		}
		if len(tmpl.Resources) == 0 || len(tmpl.Outputs) == 0 {
			t.Errorf("%s has %d resources and %d outputs", name, len(tmpl.Resources), len(tmpl.Outputs))
		}
		for _, part := range []object{tmpl.Parameters, tmpl.Outputs} {
			for key, v := range part {
				if o, _ := v.(object); o["Description"] == nil {
					t.Errorf("%s: %s has no description", name, key)
				}
			}
		}
		for key, v := range tmpl.Parameters {
			p, _ := v.(object)
			if p["Type"] == "String" && p["AllowedPattern"] == nil && p["AllowedValues"] == nil && key != "AllowedOrigins" {
				t.Errorf("%s: parameter %s takes anything", name, key)
			}
		}
	}
}

// templates are the files of deploy/aws, all of which order knows.
func templates(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	if !slices.Equal(names, slices.Sorted(slices.Values(order))) {
		t.Fatalf("deploy/aws has %v, order has %v", names, order)
	}
	return names
}

// TestStacksFitSchemas makes the stacks with every value that a parameter may have,
// and the choices that depend on each other in every combination.
func TestStacksFitSchemas(t *testing.T) {
	deploy(t, nil)
	arn := "arn:aws:acm:eu-central-1:123456789012:certificate/1"
	for _, lb := range []string{"network", "application"} {
		for _, certificate := range []string{"", arn} {
			for _, topic := range []string{"", "arn:aws:sns:eu-central-1:123456789012:alarms"} {
				deploy(t, map[string]map[string]string{
					"redis.yaml":   {"AlarmTopicArn": topic},
					"gateway.yaml": {"LoadBalancerType": lb, "CertificateArn": certificate, "AlarmTopicArn": topic},
				})
			}
		}
	}
	for _, name := range order {
		for parameter, definition := range load(t, name).Parameters {
			p, _ := definition.(object)
			allowed, _ := p["AllowedValues"].([]any)
			for _, v := range allowed {
				deploy(t, map[string]map[string]string{name: {parameter: fmt.Sprint(v)}})
			}
		}
	}
}

// TestStacksFitTogether says which parameters an operator has to give: all others
// have defaults, or are outputs of an earlier stack.
func TestStacksFitTogether(t *testing.T) {
	known := map[string]bool{"Image": true}
	for _, name := range order {
		tmpl := load(t, name)
		for parameter, definition := range tmpl.Parameters {
			if p, _ := definition.(object); p["Default"] == nil && !known[parameter] {
				t.Errorf("%s: no earlier stack gives %s", name, parameter)
			}
		}
		for output := range tmpl.Outputs {
			known[output] = true
		}
	}
}

// TestTemplatesFitAnyAccount looks for what is true in one place only.
func TestTemplatesFitAnyAccount(t *testing.T) {
	fixed := regexp.MustCompile(`\b(us|eu|ap|ca|sa|me|af|il|cn)-[a-z]+-\d|\b\d{12}\b|\barn:aws:|amazonaws\.com\.cn`)
	for _, name := range templates(t) {
		if m := fixed.FindString(load(t, name).text); m != "" {
			t.Errorf("%s: %s is true in one place only", name, m)
		}
	}
}

// TestMistakesAreFound breaks the templates in many ways.
func TestMistakesAreFound(t *testing.T) {
	for _, test := range []struct{ name, template, old, new, want string }{
		{"misspelt property", "gateway.yaml", "StopTimeout:", "StopTimout:", "'StopTimout' not allowed"},
		{"misspelt property, deep", "gateway.yaml", "SoftLimit: 262144", "SoftLimits: 262144", "'SoftLimits' not allowed"},
		{"missing property", "redis.yaml", "      ReplicationGroupDescription: Redis of Boreas\n", "", "'ReplicationGroupDescription'"},
		{"wrong type", "gateway.yaml", "HealthCheckIntervalSeconds: 10", "HealthCheckIntervalSeconds: often", "/HealthCheckIntervalSeconds"},
		{"wrong type of a list", "gateway.yaml", "Subnets: !Ref PublicSubnetIds", "Subnets: !Ref VpcId", "/Subnets"},
		{"not one of the values", "gateway.yaml", "ComparisonOperator: LessThanThreshold", "ComparisonOperator: Below", "/ComparisonOperator"},
		{"unknown type", "redis.yaml", "Type: AWS::ElastiCache::SubnetGroup", "Type: AWS::ElastiCache::Subnets", "no schema for type AWS::ElastiCache::Subnets"},
		{"dangling Ref", "gateway.yaml", "LoadBalancerArn: !Ref LoadBalancer", "LoadBalancerArn: !Ref Balancer", "nothing is named Balancer"},
		{"dangling Sub", "gateway.yaml", "service/${Cluster}/", "service/${Clustr}/", "nothing is named Clustr"},
		{"dangling attribute", "gateway.yaml", "!GetAtt LoadBalancer.DNSName", "!GetAtt LoadBalancer.DnsName", "no attribute DnsName of LoadBalancer"},
		{"dangling attribute in Sub", "redis.yaml", "${Redis.ConfigurationEndPoint.Address}", "${Redis.Address}", "no attribute Address of Redis"},
		{"dangling DependsOn", "gateway.yaml", "DependsOn: Listener", "DependsOn: Listeners", "depends on Listeners"},
		{"misspelt condition", "gateway.yaml", "Port: !If [Tls, 443, 80]\n      Protocol", "Port: !If [TLS, 443, 80]\n      Protocol", "no condition TLS"},
		{"what is not always made", "network.yaml", "!If [NatPerZone, !Ref NatGatewayB, !Ref NatGatewayA]", "!Ref NatGatewayB", "NatGatewayB is used, but not made"},
		{"blocks that just fit", "network.yaml", "Default: 10.20.0.0/16", "Default: 10.20.0.0/19", ""},
		{"blocks that do not fit", "network.yaml", "!Cidr [!Ref VpcCidr, 4, 10]", "!Cidr [!Ref VpcCidr, 4, 15]", "Fn::Cidr cannot take"},
		{"misspelt key of a mapping", "gateway.yaml", "!FindInMap [DrainTimes, !Ref Drain, Stop]", "!FindInMap [DrainTimes, !Ref Drain, End]", "Fn::FindInMap cannot take"},
		{"parameter used once less", "service.yaml", "!Sub Service ${ServiceName} of Boreas", "Service", ""},
		{"unused parameter", "service.yaml", "{Name: BOREAS_ON_INSTANCE_LOSS, Value: !Ref OnInstanceLoss}", "{Name: BOREAS_ON_INSTANCE_LOSS, Value: close}", "nothing uses parameter OnInstanceLoss"},
		{"default out of bounds", "redis.yaml", "Default: cache.m7g.large", "Default: m7g", "does not match"},
		{"misspelt attribute of a resource", "redis.yaml", "UpdatePolicy:", "UpdatePolicies:", "unknown attribute UpdatePolicies"},
		{"alias", "service.yaml", "Image: !Ref Image", "Image: &image [*image]", "no aliases"},
		{"twice", "service.yaml", "Essential: true", "Essential: true\n          Image: x", "Image is there twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := load(t, test.template).text
			if !strings.Contains(text, test.old) {
				t.Fatalf("%s has no %q", test.template, test.old)
			}
			found := everything(strings.Replace(text, test.old, test.new, 1))
			if test.want == "" {
				if len(found) > 0 {
					t.Errorf("found %q in what is right", found)
				}
				return
			}
			if !strings.Contains(strings.Join(found, "\n"), test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

// everything is what the tests above find in a template.
func everything(text string) []string {
	tmpl, err := parse(text)
	if err != nil {
		return []string{err.Error()}
	}
	given := map[string]string{}
	for name, definition := range tmpl.Parameters {
		if p, _ := definition.(object); p["Default"] == nil {
			given[name] = map[string]string{
				"VpcCidr": "10.0.0.0/16", "PublicSubnetIds": "subnet-1,subnet-2", "PrivateSubnetIds": "subnet-3,subnet-4",
				"RedisUrlSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x",
			}[name]
			if given[name] == "" {
				given[name] = "x"
			}
		}
	}
	return append(tmpl.problems(), tmpl.evaluate(given).problems...)
}

// settings are the variables of a program, from a text that names them.
func settings(t *testing.T, text string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(`BOREAS_[A-Z_]+`).FindAllString(text, -1) {
		names[name] = true
	}
	if len(names) < 5 {
		t.Fatalf("only %d settings in %s", len(names), text)
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
