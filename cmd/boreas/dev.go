package main

type devCmd struct {
	Gateways  int    `default:"2" help:"How many gateways to run."`
	Instances int    `default:"2" help:"How many instances of the chat service to run."`
	Listen    string `default:"127.0.0.1:8080" help:"Where the page and the load balancer listen."`
	Redis     string `default:"" placeholder:"URL" help:"A Redis to use instead of the embedded one."`
}

func (c *devCmd) Run(p *process) error { return nil }
