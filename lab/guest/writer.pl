# The recording writer: one loop of direct, flushed writes to a disk; lab/write-pattern.ts says what write n is. After each
# write that was acknowledged it tells the host (u32le n, u32le microseconds that the write took) on a port of its own,
# which QEMU appends to a file: what is in there survives whatever becomes of the guest. Ends after the write at hand on
# SIGTERM, and with a message on an I/O error. Only what perl-base has built in.
#   writer.pl DISK PORT SEED BLOCKSIZE OFFSET LENGTH ZEROEVERY DISCARDEVERY RATE

my ($disk_path, $port_path, $seed, $size, $offset, $length, $zero, $discard, $rate) = @ARGV;
my $stop = 0;
$SIG{TERM} = sub { $stop = 1 };
my ($O_WRONLY, $O_RDWR, $O_DSYNC, $O_DIRECT) = (1, 2, 010000, 040000);
my ($BLKZEROOUT, $BLKDISCARD, $SYS_FSYNC, $SYS_CLOCK_GETTIME) = (0x127f, 0x1277, 74, 228);
sysopen(my $disk, $disk_path, $O_RDWR | $O_DIRECT | $O_DSYNC) or die "writer: $disk_path: $!\n";
sysopen(my $port, $port_path, $O_WRONLY) or die "writer: $port_path: $!\n";

# O_DIRECT wants an aligned address: the block starts at the first aligned byte of a larger buffer.
my $buffer = "\0" x ($size + 4096);
my $skip = (4096 - (unpack('Q', pack('p', $buffer)) & 4095)) & 4095;
my $blocks = $length / $size;
my $words = ($size - 24) / 8;
my $clock = "\0" x 16;

sub microseconds {
  syscall($SYS_CLOCK_GETTIME, 1, $clock);
  my ($seconds, $nanoseconds) = unpack('qq', $clock);
  return $seconds * 1000000 + int($nanoseconds / 1000);
}

# QEMU 8.2 and later can lose the interrupt of a disk on an I/O thread in `stop`: the request is done, and the guest does not learn
# it. Where its queues have no event indices (lab/qemu-builds.ts) the next request makes up for it. Any other guest has one
# soon; this one, which waits for its only write, has it from a process that reads a block twice a second.
my $writer = $$;
if (fork() == 0) {
  $SIG{TERM} = 'DEFAULT';
  open($_, '+<', '/dev/null') for (*STDIN, *STDOUT, *STDERR);
  close($port);
  # Its own: of the writer's, the position would be in common.
  sysopen(my $own, $disk_path, $O_DIRECT);
  while (getppid() == $writer) {
    sysseek($own, 0, 0);
    sysread($own, $buffer, 512, $skip);
    select(undef, undef, undef, 0.5);
  }
  exit;
}

my $begin = microseconds();
for (my $n = 1; !$stop; $n++) {
  my $x = ($seed + $n * 0x9E3779B9) & 0xFFFFFFFF;
  $x ^= ($x << 13) & 0xFFFFFFFF;
  $x ^= $x >> 17;
  $x ^= ($x << 5) & 0xFFFFFFFF;
  my $at = $offset + ($x % $blocks) * $size;

  my $before = microseconds();
  if ($rate > 0) {
    my $early = $begin + ($n - 1) * 1000000 / $rate - $before;
    if ($early > 0) {
      select(undef, undef, undef, $early / 1000000);
      last if $stop;
      $before = microseconds();
    }
  }
  my $zeroing = $zero && $n % $zero == 0;
  if ($zeroing || ($discard && $n % $discard == 0)) {
    ioctl($disk, $zeroing ? $BLKZEROOUT : $BLKDISCARD, pack('QQ', $at, $size))
      or die "writer: ", $zeroing ? 'zeroing' : 'discard', " $n at $at of $disk_path: $!\n";
    syscall($SYS_FSYNC, fileno($disk)) == 0 or die "writer: flush after $n of $disk_path: $!\n";
  } else {
    substr($buffer, $skip, $size, pack('a4 V Q< Q<', 'BFRY', $seed, $n, $at) . (pack('VV', $seed, $n) x $words));
    sysseek($disk, $at, 0);
    my $wrote = syswrite($disk, $buffer, $size, $skip);
    die "writer: write $n at $at of $disk_path: $!\n" unless defined $wrote && $wrote == $size;
  }
  syswrite($port, pack('VV', $n, microseconds() - $before)) or die "writer: $port_path: $!\n";
}
