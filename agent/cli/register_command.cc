// The verb `register`.
#include <memory>

#include "agent/cli/register_options.h"

namespace limpet::cli {

void add_register_command(CLI::App& app, Run& run) {
  CLI::App* verb = app.add_subcommand("register", "register an instance of a service, or update it in place");
  auto options = std::make_shared<RegisterOptions>();
  add_register_options(*verb, *options);
  add_binding_options(*verb, *options);
  verb->footer(
      "Returns when the registration is on disk; it reaches ZooKeeper by itself, also when ZooKeeper\n"
      "is away now. Registering the same again changes nothing.\n\n"
      "Examples:\n"
      "  limpet register web i-1 --address 10.0.0.7 --port 8080 --metadata zone=a\n"
      "  limpet register web i-1 --data 'http://10.0.0.7:8080' --wait 10s\n"
      "  limpet register web i-1 --port 8080 --pid \"$(cat /run/web.pid)\"\n"
      "  generate-config | limpet register web i-1 --data-file -\n");
  verb->callback([&run, options] {
    check_register_options(*options);
    run = [options](Context& context) {
      Json registered;
      return register_now(context, *options, /*quiet=*/false, registered);
    };
  });
}

}  // namespace limpet::cli
