# Rails, one migration at a time. The application is loaded first, since migrations may use its classes; where that
# fails (a secret, a service that is not there) they run without it.
require 'active_record'

class Tool
  def initialize(work)
    environment = File.join(work['root'], 'config', 'environment.rb')
    begin
      require environment if File.file?(environment)
    rescue StandardError, LoadError => error
      warn "the application could not be loaded: #{error.message}"
    end
    host, name, user = work['alias'], work['shadow']['dbname'], work['shadow']['user']
    ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: host, database: name, username: user)
    ActiveRecord::Migration.verbose = false
  end

  def apply(request)
    ActiveRecord::Migrator.migrations_paths = [File.dirname(request['path'])]
    base = ActiveRecord::Base
    owner = base.connection.respond_to?(:migration_context) ? base.connection : base.connection_pool
    owner.migration_context.run(:up, Integer(request['version'], 10))
  ensure
    ActiveRecord::Base.connection_pool.disconnect!
  end
end
