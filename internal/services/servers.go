package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Postgres is a PostgreSQL server with wal_level=logical and the superuser
// postgres, password postgres.
type Postgres struct {
	// Major is its major version; 0 is the machine's newest.
	Major int
	// Settings are put on the command line after our own.
	Settings map[string]string
	// StandbyOf is a server that does not run while this one is started for the
	// first time: its data is copied, and this one goes on as its standby, from
	// the primary_conninfo of Settings.
	StandbyOf *Server
	// Extensions takes Debian's server of PostgresExtensionsMajor, in place of
	// Major, with pgvector and PostGIS.
	Extensions bool
	bin        string
}

// Postgres returns the PostgreSQL server of that name.
func (h *Home) Postgres(name string, p Postgres) *Server {
	return &Server{home: h, name: name, kind: &p}
}

func (p *Postgres) ports() int             { return 1 }
func (p *Postgres) signal() syscall.Signal { return syscall.SIGINT } // "fast": open sessions are cut off
func (p *Postgres) address(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return fmt.Sprintf("postgres://postgres:postgres@127.0.0.1:%d/postgres", ports[0])
}

func (p *Postgres) install(ctx context.Context, h *Home) (err error) {
	if p.Extensions {
		p.bin, err = h.extensionsBin(ctx)
	} else {
		p.bin, err = h.PostgresBin(ctx, p.Major)
	}
	return err
}

func (p *Postgres) prepare(ctx context.Context, s *Server, ports []int) (*exec.Cmd, error) {
	as, err := ordinary(s)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.Dir(), "data")
	if _, err := os.Stat(filepath.Join(s.Dir(), "made")); err != nil {
		if p.StandbyOf != nil {
			err = p.copyData(ctx, data)
		} else {
			err = p.initData(ctx, s, data, as)
		}
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(s.Dir(), "made"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	if err := dropStalePid(data); err != nil {
		return nil, err
	}
	args := []string{
		"-D", data, "-p", strconv.Itoa(ports[0]), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "wal_level=logical", "-c", "max_wal_senders=50", "-c", "max_replication_slots=50", "-c", "max_connections=200",
	}
	for k, v := range p.Settings {
		args = append(args, "-c", k+"="+v)
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), args...)
	cmd.SysProcAttr = as
	return cmd, nil
}

func (p *Postgres) initData(ctx context.Context, s *Server, data string, as *syscall.SysProcAttr) error {
	password := filepath.Join(s.Dir(), "password")
	if err := errors.Join(os.RemoveAll(data), os.WriteFile(password, []byte("postgres\n"), 0o644)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", data, "-U", "postgres", "--pwfile="+password,
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
	cmd.SysProcAttr, cmd.Dir = as, s.Dir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// copyData copies the data of a server that was stopped in the ordinary way:
// PostgreSQL manual, "File System Level Backup".
func (p *Postgres) copyData(ctx context.Context, data string) error {
	if p.StandbyOf.Pid() != 0 {
		return fmt.Errorf("copy the data of %s: it runs", p.StandbyOf.name)
	}
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := run(ctx, p.StandbyOf.Dir(), "cp", "-a", "data", data); err != nil {
		return err
	}
	signal := filepath.Join(data, "standby.signal")
	if err := run(ctx, data, "cp", "-a", "PG_VERSION", signal); err != nil { // with its owner
		return err
	}
	return os.Truncate(signal, 0)
}

// dropStalePid removes the lock file of a killed server whose id nobody has any
// more, or a process that has ended and waits to be collected: PostgreSQL would
// take that for itself.
func dropStalePid(data string) error {
	file := filepath.Join(data, "postmaster.pid")
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	if pid, err := strconv.Atoi(first); err == nil && born(pid) == 0 {
		return os.Remove(file)
	}
	return nil
}

func (p *Postgres) answers(ctx context.Context, ports []int) error {
	conn, err := pgx.Connect(ctx, p.address(ports))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT 1")
	return err
}

// ordinary returns how to run a program as an ordinary user, because
// PostgreSQL refuses root: nil when we are one. Root takes a user namespace
// where the kernel allows one, so that files may stay where only root comes;
// else it becomes nobody, who then owns the server's folder.
func ordinary(s *Server) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	const nobody = 65534
	inside := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}},
	}
	try := exec.Command("true")
	try.SysProcAttr = inside
	if try.Run() == nil {
		again := *inside
		return &again, nil
	}
	for _, f := range []string{"", "data"} {
		if err := os.Chown(filepath.Join(s.Dir(), f), nobody, nobody); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	test := exec.Command("test", "-x", s.Dir())
	test.SysProcAttr = as
	if test.Run() != nil {
		u, _ := user.LookupId(strconv.Itoa(nobody))
		return nil, fmt.Errorf("root needs user namespaces here, or CDC_SERVICES_DIR in a folder that %v may enter", u)
	}
	return as, nil
}

// Kafka is one Apache Kafka broker that is its own controller.
type Kafka struct {
	Heap string // of the JVM; "" is 512m
	java string
}

// Kafka returns the broker of that name.
func (h *Home) Kafka(name string, k Kafka) *Server { return &Server{home: h, name: name, kind: &k} }

func (k *Kafka) ports() int             { return 2 }
func (k *Kafka) signal() syscall.Signal { return syscall.SIGTERM }
func (k *Kafka) address(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return "127.0.0.1:" + strconv.Itoa(ports[0])
}

func (k *Kafka) install(ctx context.Context, h *Home) (err error) {
	if k.java, err = h.java(ctx); err != nil {
		return err
	}
	return h.installKafka(ctx)
}

func (k *Kafka) prepare(ctx context.Context, s *Server, ports []int) (*exec.Cmd, error) {
	soft, properties, data := s.home.kafkaJars(), filepath.Join(s.Dir(), "server.properties"), filepath.Join(s.Dir(), "data")
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%[3]s
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=33554432
`, ports[0], ports[1], data)
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return nil, err
	}
	jvm := func(args ...string) *exec.Cmd {
		all := append([]string{"-Dlog4j2.configurationFile=" + filepath.Join(soft, "log4j2.xml"), "-cp", filepath.Join(soft, "jars", "*")}, args...)
		return exec.CommandContext(context.WithoutCancel(ctx), k.java, all...)
	}
	if _, err := os.Stat(filepath.Join(data, "meta.properties")); err != nil {
		// Any 16 bytes in URL-safe base64 name a cluster.
		format := jvm("kafka.tools.StorageTool", "format", "--standalone", "-t", "Y2RjLXRlc3Qta2Fma2EtMQ", "-c", properties)
		format.Env = append(os.Environ(), "LOG_LEVEL=ERROR")
		if out, err := format.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("format storage: %w\n%s", err, out)
		}
	}
	heap := k.Heap
	if heap == "" {
		heap = "512m"
	}
	return jvm("-Xmx"+heap, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "kafka.Kafka", properties), nil
}

func (k *Kafka) answers(ctx context.Context, ports []int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.address(ports)), kgo.RetryTimeout(0), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	m, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	if len(m.Brokers) != 1 {
		return fmt.Errorf("metadata names %d brokers", len(m.Brokers))
	}
	return nil
}

// Registry is an Apicurio registry that keeps its schemas in a file.
type Registry struct{ java string }

// Registry returns the registry of that name.
func (h *Home) Registry(name string) *Server {
	return &Server{home: h, name: name, kind: &Registry{}}
}

func (r *Registry) ports() int             { return 2 }
func (r *Registry) signal() syscall.Signal { return syscall.SIGTERM }
func (r *Registry) address(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return fmt.Sprintf("http://127.0.0.1:%d/apis/ccompat/v7", ports[0])
}

func (r *Registry) install(ctx context.Context, h *Home) (err error) {
	if r.java, err = h.java(ctx); err != nil {
		return err
	}
	return h.installApicurio(ctx)
}

func (r *Registry) prepare(_ context.Context, s *Server, ports []int) (*exec.Cmd, error) {
	return exec.Command(r.java, "-Xmx512m",
		"-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port="+strconv.Itoa(ports[0]),
		"-Dquarkus.management.host=127.0.0.1", "-Dquarkus.management.port="+strconv.Itoa(ports[1]),
		"-Dapicurio.datasource.url=jdbc:h2:file:"+filepath.Join(s.Dir(), "data", "registry"),
		"-jar", filepath.Join(s.home.apicurio(), "quarkus-run.jar")), nil
}

func (r *Registry) answers(ctx context.Context, ports []int) error {
	return answersGet(ctx, r.address(ports), "/subjects")
}

// answersGet asks a server for a path of its API.
func answersGet(ctx context.Context, address, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return nil
}
