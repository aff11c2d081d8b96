# Apply one migration at a time with the project's own tool, on the shadow database and on nothing else.
# What run.py is to tools written in Python; the same requests and answers, and the same guards: every way to connect
# that the PostgreSQL driver has leads to the shadow or nowhere, other sockets are refused, and so are PostgreSQL's own programs.
require 'json'
require 'socket'

NOT_WITHIN = /\A\s*(begin|start|commit|end|rollback|abort|savepoint|release|set)\b/i.freeze
PROGRAMS = %r{(?:\A|[\s/])(psql|pg_restore|pg_dump|pg_dumpall|createdb|dropdb|createuser|vacuumdb|pgcli)(?:\s|\z)}.freeze
FAIL = "DO $$ BEGIN RAISE EXCEPTION 'stopped here'; END $$".freeze
REFUSED = [] # rubocop:disable Style/MutableConstant

def refuse(what)
  REFUSED << what
  raise ArgumentError, "not the shadow database: #{what}"
end

# The only way to a database: *shadow* says where it leads; without one there is no way at all.
def close_all_others(work)
  shadow, known = work['shadow'], work['shadow'] && [nil, work['alias'], work['shadow']['host']]
  gate = Module.new do
    %i[new open connect setdb setdblogin async_connect sync_connect connect_start].each do |name|
      define_method(name) do |*arguments, **options|
        asked = PG::Connection.conninfo_parse(PG::Connection.parse_connect_args(*arguments, **options))
        asked = asked.to_h { |word| [word[:keyword], word[:val]] }.reject { |_, value| value.to_s.empty? }
        refuse('a database, although nothing is to be run') unless shadow
        refuse("service #{asked['service']}") if asked['service']
        elsewhere = asked['hostaddr'] || !known.include?(asked['host'])
        refuse("database #{asked['dbname']} on #{asked['hostaddr'] || asked['host']}") if elsewhere
        kept = asked.reject { |word, _| word.start_with?('ssl', 'passfile', 'password') }
        super(**kept.merge(shadow).transform_keys(&:to_sym))
      end
    end
  end
  PG::Connection.singleton_class.prepend(gate)
  sockets = Module.new do
    %i[new open].each do |name|
      define_method(name) { |*to, **rest| raise Errno::ECONNREFUSED, "there is no network in a replay: #{to.first(2).join(':')}" }
    end
  end
  [TCPSocket, UNIXSocket].each { |kind| kind.singleton_class.prepend(sockets) }
  Socket.prepend(Module.new { def connect(_to) = raise(Errno::ECONNREFUSED, 'there is no network in a replay') })
  programs = Module.new do
    %i[system spawn exec ` popen].each do |name|
      define_method(name) do |*words, **rest, &block|
        found = PROGRAMS.match(words.flatten.grep(String).join(' '))
        refuse("whatever #{found[1]} connects to") if found
        super(*words, **rest, &block)
      end
    end
  end
  Object.prepend(programs)
  [Process, IO, Kernel].each { |kind| kind.singleton_class.prepend(programs) }
end

# What the tool sent while one migration ran: line, text, and a transaction id where no mark could be left.
class Recorder
  attr_reader :statements, :prepared
  attr_accessor :step

  def initialize(table)
    @table, @statements, @prepared = table, [], {}
  end

  def begin(step, file, first, stop)
    @step, @file, @first, @stop, @statements = step, file, first, stop, []
  end

  def line
    found = caller_locations.find { |place| place.absolute_path == @file }
    found ? found.lineno : @first
  end

  def watch(connection)
    recorder = self
    connection.prepend(Module.new do
      %i[exec async_exec sync_exec query async_query exec_params async_exec_params sync_exec_params].each do |name|
        define_method(name) { |sql, *rest, &block| recorder.around(self, sql) { |text| super(text, *rest, &block) } }
      end
      %i[prepare async_prepare sync_prepare].each do |name|
        define_method(name) { |called, sql, *rest| recorder.prepared[called] = sql; super(called, sql, *rest) }
      end
      %i[exec_prepared async_exec_prepared sync_exec_prepared].each do |name|
        define_method(name) do |called, *rest, &block|
          recorder.around(self, recorder.prepared[called].to_s) { super(called, *rest, &block) }
        end
      end
    end)
  end

  def around(connection, sql, &run)
    return yield sql if @step.nil? || @busy

    @busy = true
    begin
      note(connection, sql, &run)
    ensure
      @busy = false
    end
  end

  private

  def note(connection, sql)
    number = @statements.size
    @statements << [line, sql, nil]
    return yield FAIL if number == @stop

    if connection.transaction_status.zero?
      now = connection.exec('SELECT pg_snapshot_xmax(pg_current_snapshot())::text')
      @statements[-1][2] = now.getvalue(0, 0).to_i
      return yield sql
    end
    return yield sql if NOT_WITHIN.match?(sql)

    connection.exec('SAVEPOINT auditkit')
    result = yield sql
    connection.exec("INSERT INTO #{@table} VALUES (#{number})")
    connection.exec('RELEASE SAVEPOINT auditkit')
    result
  end
end

def explained(error, recorder, path)
  chain = [error]
  chain << chain.last.cause while chain.last.cause
  origin = chain.reverse.find { |one| defined?(PG::Error) && one.is_a?(PG::Error) }
  places = chain.flat_map { |one| one.backtrace_locations || [] }
  line = places.reverse.find { |place| place.absolute_path == path }&.lineno
  last = recorder.statements.last
  result = origin.respond_to?(:result) ? origin.result : nil
  state = result ? result.error_field(PG::PG_DIAG_SQLSTATE) : ''
  message = result ? result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY) : chain.last.message.lines.first.to_s.strip
  {
    line: (result && last && last[0]) || line || (last && last[0]) || 1, outside: line.nil? && last.nil?,
    message: result ? message : "#{chain.last.class}: #{message}", sqlstate: state, statement: result && last ? last[1] : ''
  }
end

answers = $stdout.dup
$stdout.reopen($stderr)
work = JSON.parse($stdin.gets)
require 'bundler/setup' if ENV['BUNDLE_GEMFILE']
require 'pg'
recorder = Recorder.new(work['marks'])
close_all_others(work)
recorder.watch(PG::Connection)
tool = nil
while (request = $stdin.gets)
  request = JSON.parse(request)
  path = File.realpath(request['path'])
  begin
    raise LoadError, "the tool loads another text of this migration: #{path}" if File.read(path).gsub(/\r\n?/, "\n") != request['text']

    tool ||= begin
      require_relative "for_#{work['tool']}"
      Tool.new(work)
    end
    first = request['text'].lines.find_index { |text| text =~ /\bdef (?:self\.)?(?:up|change)\b/ }
    recorder.begin(request['step'], path, (first || 0) + 1, request['stop'])
    tool.apply(request)
    answer = {}
  rescue Exception => error # rubocop:disable Lint/RescueException
    warn error.full_message
    answer = { error: explained(error, recorder, path) }
  end
  answer[:statements] = recorder.statements
  answer[:refused] = REFUSED.first unless REFUSED.empty?
  recorder.step = nil
  answers.puts(JSON.generate(answer))
  answers.flush
end
