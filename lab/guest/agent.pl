# The guest's side of the command channel: runs shell commands for the host, many at once, over one virtio-serial port.
# Only what perl-base has built in. Frames in both directions: type (1 byte), id (u32be), length (u32be), payload.
#   host to guest:  H hello;  R run the payload with sh;  S send the signal named by the payload to the command's group
#   guest to host:  h hello;  o a piece of the command's output (standard output and error);  x its exit status

my ($path) = @ARGV;
sysopen(my $port, $path, 2) or die "agent: $path: $!\n";
$SIG{PIPE} = 'IGNORE';

my %commands;    # id => { pid, out (undef once it was closed) }
my $received = '';

sub reply {
  my ($type, $id, $payload) = @_;
  my $frame = pack('a1 N N', $type, $id, length $payload) . $payload;
  while (length $frame) {
    my $sent = syswrite($port, $frame);
    if (defined $sent) { substr($frame, 0, $sent, '') }
    else { select(undef, undef, undef, 0.01) }
  }
}

sub start {
  my ($id, $command) = @_;
  pipe(my $out, my $in) or return reply('x', $id, '126');
  my $pid = fork;
  return reply('x', $id, '126') unless defined $pid;
  if ($pid == 0) {
    setpgrp(0, 0);
    open(STDIN, '<', '/dev/null');
    open(STDOUT, '>&', $in);
    open(STDERR, '>&', $in);
    exec('/bin/sh', '-c', $command) or exit 127;
  }
  close $in;
  $commands{$id} = { pid => $pid, out => $out };
}

sub handle {
  my ($type, $id, $payload) = @_;
  if ($type eq 'H') { reply('h', $id, '') }
  elsif ($type eq 'R') { start($id, $payload) }
  elsif ($type eq 'S' && $commands{$id}) { kill("-$payload", $commands{$id}{pid}) }
}

while (1) {
  my $wait = '';
  vec($wait, fileno($port), 1) = 1;
  my $ending = 0;
  for my $command (values %commands) {
    if ($command->{out}) { vec($wait, fileno($command->{out}), 1) = 1 }
    else { $ending = 1 }
  }
  # A command may close its output before it ends: then its end is looked for at short intervals.
  my $ready = select($wait, undef, undef, $ending ? 0.01 : undef);
  for my $id (keys %commands) {
    my $command = $commands{$id};
    if ($command->{out}) {
      next unless $ready > 0 && vec($wait, fileno($command->{out}), 1);
      my $got = sysread($command->{out}, my $piece, 16384);
      if ($got) { reply('o', $id, $piece); next }
      close $command->{out};
      $command->{out} = undef;
    }
    if (waitpid($command->{pid}, 1) == $command->{pid}) {
      delete $commands{$id};
      reply('x', $id, ($? & 127) ? 128 + ($? & 127) : $? >> 8);
    }
  }
  next unless $ready > 0 && vec($wait, fileno($port), 1);
  my $got = sysread($port, $received, 65536, length $received);
  # Nothing: the host is not connected (yet); the port is readable all the time then.
  select(undef, undef, undef, 0.02) unless $got;
  while (length $received >= 9) {
    my ($type, $id, $length) = unpack('a1 N N', $received);
    last if length $received < 9 + $length;
    my $payload = substr($received, 9, $length);
    substr($received, 0, 9 + $length, '');
    handle($type, $id, $payload);
  }
}
