// Package aws tests the CloudFormation templates of deploy/aws without an account.
//
// Each template is read strictly, every reference in it is followed, and it is
// evaluated with many sets of parameters, as CloudFormation would. What comes out has
// to fit the schemas that CloudFormation publishes for its resource types
// (testdata/schemas, written by scripts/aws-schemas): each property's name, type and
// bounds. Further tests look at what the stacks mean: ports, timings, permissions,
// settings and names of metrics.
//
// What only AWS can tell is not tested: whether it has capacity, versions and rights.
package aws
