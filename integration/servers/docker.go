package servers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/services"
)

// The images, by tag.
const (
	postgresImage, postgresTag = "postgres", "17"
	kafkaImage, kafkaTag       = "apache/kafka", "4.3.1"
	registryImage, registryTag = "apicurio/apicurio-registry", "3.3.3"
)

// containers are servers of a container engine. Their names begin with a mark
// of this checkout, so that several checkouts do not share them.
type containers struct {
	pool *dockertest.Pool
	home *services.Home
	mark string
}

// engine returns the containers of the engine that answers, or nil.
// CDC_SERVICES=local says not to ask.
func engine(ctx context.Context, home *services.Home) *containers {
	if os.Getenv("CDC_SERVICES") == "local" {
		return nil
	}
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if pool.Client.PingWithContext(ctx) != nil {
		return nil
	}
	pool.MaxWait = 2 * time.Minute
	h := fnv.New32a()
	h.Write([]byte(home.Dir))
	return &containers{pool: pool, home: home, mark: fmt.Sprintf("cdc-%08x-", h.Sum32())}
}

func (c *containers) String() string { return "containers " + c.mark + "*" }

func (c *containers) Postgres(name string, major int, settings map[string]string) Server {
	tag := postgresTag
	if major != 0 {
		tag = strconv.Itoa(major)
	}
	cmd := []string{"postgres", "-c", "wal_level=logical", "-c", "max_wal_senders=50", "-c", "max_replication_slots=50", "-c", "max_connections=200"}
	for k, v := range settings {
		cmd = append(cmd, "-c", k+"="+v)
	}
	return &container{
		c: c, name: c.mark + name, inside: "5432/tcp", format: "postgres://postgres:postgres@127.0.0.1:%d/postgres", answers: PingPostgres,
		options: func(int) *dockertest.RunOptions {
			return &dockertest.RunOptions{Repository: postgresImage, Tag: tag, Env: []string{"POSTGRES_PASSWORD=postgres"}, Cmd: cmd}
		},
	}
}

func (c *containers) Kafka(name string) Server {
	return &container{
		c: c, name: c.mark + name, inside: "9092/tcp", format: "127.0.0.1:%d", answers: PingKafka,
		options: func(port int) *dockertest.RunOptions {
			return &dockertest.RunOptions{Repository: kafkaImage, Tag: kafkaTag, Env: []string{
				"KAFKA_NODE_ID=1", "KAFKA_PROCESS_ROLES=broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093",
				"KAFKA_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093",
				"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:" + strconv.Itoa(port),
				"KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER", "KAFKA_INTER_BROKER_LISTENER_NAME=PLAINTEXT",
				"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
				"KAFKA_AUTO_CREATE_TOPICS_ENABLE=false", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1",
				"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1",
				"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0",
			}}
		},
	}
}

func (c *containers) Registry(name string) Server {
	return &container{
		c: c, name: c.mark + name, inside: "8080/tcp", format: "http://127.0.0.1:%d/apis/ccompat/v7", answers: PingRegistry,
		options: func(int) *dockertest.RunOptions {
			return &dockertest.RunOptions{Repository: registryImage, Tag: registryTag, Env: []string{"APICURIO_DATASOURCE_URL=jdbc:h2:file:/tmp/registry"}}
		},
	}
}

func (c *containers) StopAll(ctx context.Context) error {
	all, err := c.pool.Client.ListContainers(docker.ListContainersOptions{Filters: map[string][]string{"name": {c.mark}}, Context: ctx})
	if err != nil {
		return err
	}
	var errs []error
	for _, one := range all {
		errs = append(errs, c.pool.Client.StopContainerWithContext(one.ID, 30, ctx))
	}
	return errors.Join(errs...)
}

// container is one of them.
type container struct {
	c       *containers
	name    string
	inside  docker.Port
	format  string // of the address
	options func(port int) *dockertest.RunOptions
	answers func(ctx context.Context, address string) error
}

func (s *container) resource() (*dockertest.Resource, bool) {
	// The pool looks the name up as a pattern: / and $ make it exact.
	return s.c.pool.ContainerByName("^/" + s.name + "$")
}

func (s *container) Address() string {
	r, ok := s.resource()
	if !ok {
		return ""
	}
	for _, b := range r.Container.HostConfig.PortBindings[s.inside] {
		if port, err := strconv.Atoi(b.HostPort); err == nil {
			return fmt.Sprintf(s.format, port)
		}
	}
	return ""
}

func (s *container) Start(ctx context.Context) (started bool, err error) {
	r, ok := s.resource()
	switch {
	case !ok:
		// The port is fixed, so that it stays the same over a restart.
		ports, err := s.c.home.Ports(1)
		if err != nil {
			return false, err
		}
		o := s.options(ports[0])
		o.Name = s.name
		o.PortBindings = map[docker.Port][]docker.PortBinding{s.inside: {{HostIP: "127.0.0.1", HostPort: strconv.Itoa(ports[0])}}}
		if _, err := s.c.pool.RunWithOptions(o); err != nil {
			return false, fmt.Errorf("run container %s: %w", s.name, err)
		}
		started = true
	case !r.Container.State.Running:
		if err := s.c.pool.Client.StartContainerWithContext(r.Container.ID, nil, ctx); err != nil {
			return false, fmt.Errorf("start container %s: %w", s.name, err)
		}
		started = true
	}
	address := s.Address()
	err = s.c.pool.Retry(func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.answers(ctx, address)
	})
	if err != nil {
		return started, fmt.Errorf("await container %s: %w", s.name, err)
	}
	return started, nil
}

func (s *container) Stop(ctx context.Context) error {
	if r, ok := s.resource(); ok && r.Container.State.Running {
		return s.c.pool.Client.StopContainerWithContext(r.Container.ID, 30, ctx)
	}
	return nil
}

func (s *container) Kill(ctx context.Context) error {
	if r, ok := s.resource(); ok && r.Container.State.Running {
		return s.c.pool.Client.KillContainer(docker.KillContainerOptions{ID: r.Container.ID, Signal: docker.SIGKILL, Context: ctx})
	}
	return nil
}

func (s *container) Remove(ctx context.Context) error {
	if r, ok := s.resource(); ok {
		return s.c.pool.Client.RemoveContainer(docker.RemoveContainerOptions{ID: r.Container.ID, Force: true, RemoveVolumes: true, Context: ctx})
	}
	return nil
}

// PingPostgres asks the server behind url a question.
func PingPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT 1")
	return err
}

// PingKafka asks the brokers (separated by commas) for their metadata.
func PingKafka(ctx context.Context, address string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(address, ",")...), kgo.RetryTimeout(0), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).BrokerMetadata(ctx)
	return err
}

// PingRegistry asks the registry for its subjects.
func PingRegistry(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/subjects", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /subjects: %s", resp.Status)
	}
	return nil
}
