# shellcheck shell=bash disable=SC2154,SC2164
# The part of package.sh that runs under systemd as PID 1; sourced by it.
command -v java >/dev/null && [ -e /usr/share/java/zookeeper.jar ] || skip "no ZooKeeper: package zookeeper"
/usr/bin/python3 -c 'import kazoo' 2>/dev/null || skip "no eyes of our own: package python3-kazoo"
[ -x "${LIMPET_PACKAGE_TREE:-}/lib/systemd/systemd" ] || skip "there is no systemd in the tree"

step "three ZooKeeper servers, and a tree with systemd as PID 1"
ensemble_prepare "$work"
for server in 0 1 2; do
  # On a machine that has much else to do, what is over at once may take a while.
  echo "maxSessionTimeout=60000" >>"$work/zk$server.cfg"
  ensemble_start "$server"
done
tree_start "$work" systemd || skip "systemd does not come up in a container here: $(tail -n 3 "$work/console")"
ensemble_wait_serving || fail "ZooKeeper does not serve"

znode() { timeout 90 /usr/bin/python3 "$here/znode.py" "$(ensemble_hosts)" "/services/web/$1"; }
main_pid() { in_tree systemctl show -P MainPID limpet.service; }
status_text() { in_tree systemctl show -P StatusText limpet.service; }
deploy() { in_tree runuser -u deploy -- "$@"; }
shows() { [[ "$(in_tree limpet show web "$1" --json)" == *"$2"* ]]; }
other_pid() { local pid; pid="$(main_pid)" && [ "$pid" != "$1" ] && [ "$pid" != 0 ] && in_tree systemctl is-active limpet.service; }

step "installed: it runs, and is configured by a reload"
in_tree dpkg --install /packages/1.deb >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
in_tree systemctl is-active limpet.service limpet.socket >/dev/null || fail "it does not run after it was installed"
in_tree systemctl is-enabled limpet.service limpet.socket >/dev/null || fail "it is not started at boot"
says "root limpet 660" in_tree stat -c '%U %G %a' /run/limpet/limpet.sock
in_tree sed -i "s/127.0.0.1:2181/$(ensemble_hosts)/" /etc/limpet/limpet.json
in_tree systemctl reload limpet || fail "the reload failed"
await in_tree sh -c 'systemctl show -P StatusText limpet.service | grep "^connected, 0 registered"'
in_tree sed -i 's/"session_timeout": "10s"/"session_timeout": "60s"/' /etc/limpet/limpet.json
in_tree systemctl restart limpet || fail "the restart failed"
await in_tree sh -c 'systemctl show -P StatusText limpet.service | grep "^connected, 0 registered"'
says 0 in_tree systemctl show -P LimitCORE limpet.service
in_tree useradd --groups limpet deploy
in_tree useradd stranger
in_tree runuser -u stranger -- limpet status >/dev/null 2>&1 && fail "who is not in the group limpet is served"

step "it knows its callers and their processes in its sandbox"
deploy limpet register web i-1 --data one --wait 30s >/dev/null || fail "cannot register"
uid="$(in_tree id -u deploy)"
shows i-1 "\"owner\":{\"uid\":$uid" || fail "not deploy's: $(in_tree limpet show web i-1 --json)"
in_tree systemd-run --quiet --unit=bound --uid=deploy sleep 1000
bound="$(in_tree systemctl show -P MainPID bound.service)"
deploy limpet register web i-2 --data two --pid "$bound" --wait 30s >/dev/null || fail "cannot bind to a process"
in_tree systemctl stop bound.service
await in_tree sh -c '! limpet show web i-2'
await in_tree sh -c 'systemctl show -P StatusText limpet.service | grep "^connected, 1 registered"'
in_tree journalctl -u limpet.service -o json --output-fields=PRIORITY,MESSAGE | grep '"PRIORITY":"6"' | grep event=started >/dev/null ||
  fail "the journal does not know the level of a line"

step "upgraded while callers come: nobody is turned away, and no znode blinks"
before="$(znode i-1)"
pid="$(main_pid)"
in_tree tee /tmp/callers.sh >/dev/null <<'CALLERS'
i=0
while [ ! -e /tmp/enough ]; do
  i=$((i + 1))
  limpet register many "c-$i" --data x || exit 1
done
CALLERS
in_tree sh -c 'runuser -u deploy -- sh /tmp/callers.sh >/tmp/callers 2>&1; echo $? >/tmp/callers.status' &
callers=$!
in_tree dpkg --install /packages/2.deb >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
await other_pid "$pid"
in_tree touch /tmp/enough
wait "$callers" || fail "the callers did not end"
says 0 in_tree cat /tmp/callers.status
await in_tree sh -c 'limpet status --json | grep "\"reattached\":true"'
says "$before" znode i-1

step "stuck: the watchdog has it started again, without a blink"
drop_ins=/etc/systemd/system/limpet.service.d
in_tree mkdir "$drop_ins"
in_tree sh -c "printf '[Service]\nWatchdogSec=3s\n' >$drop_ins/test.conf; systemctl daemon-reload"
in_tree systemctl restart limpet
pid="$(main_pid)"
in_tree sh -c "kill -STOP $pid"
await other_pid "$pid"
in_tree sh -c "rm $drop_ins/test.conf; systemctl daemon-reload"
in_tree systemctl restart limpet
await in_tree sh -c 'limpet status --json | grep "\"reattached\":true"'
says "$before" znode i-1

step "a wrong configuration is refused by the reload, and changes nothing"
in_tree sed -i 's/"log_level"/"log_levle"/' /etc/limpet/limpet.json
in_tree systemctl reload limpet 2>/dev/null && fail "a wrong configuration is taken"
in_tree systemctl is-active limpet.service >/dev/null || fail "a wrong configuration stops the service"
in_tree journalctl -u limpet.service | grep 'did you mean "log_level"' >/dev/null || fail "the journal does not say what is wrong"
in_tree systemctl restart limpet 2>/dev/null && fail "it starts with a wrong configuration"
# A caller who comes now has it tried again and again, until systemd leaves it.
in_tree limpet status >/dev/null 2>&1 && fail "a caller is served by nobody"
await in_tree systemctl is-failed limpet.service
in_tree sed -i 's/"log_levle"/"log_level"/' /etc/limpet/limpet.json
in_tree systemctl start limpet || fail "it does not start again"
in_tree systemctl is-active limpet.socket >/dev/null || fail "the socket does not come back with it"
in_tree limpet status >/dev/null || fail "it does not answer again"
says "$before" znode i-1

step "checks as users, by the drop-in that is shipped for them"
check='{"data":"x","checks":[{"type":"command","command":["sh","-c","test $(id -un) = deploy"],"interval":"1s"}]}'
put_check() {
  deploy curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/limpet/limpet.sock -X PUT -d "$check" \
    http://localhost/v1/registrations/web/i-3
}
says 403 put_check
in_tree sed -i 's/"command_checks": false/"command_checks": true/' /etc/limpet/limpet.json
in_tree systemctl reload limpet
says 422 put_check
in_tree cp /usr/share/doc/limpet/examples/checks-as-users.conf "$drop_ins/"
in_tree systemctl daemon-reload
in_tree systemctl restart limpet
says 202 put_check
await shows i-3 '"state":"registered"'
says "$before" znode i-1
# With the credentials that OPERATIONS.md has made, which are the user limpet's.
in_tree sh -c 'echo limpet:secret | install -o limpet -m 0600 /dev/stdin /etc/limpet/zookeeper'
in_tree sed -i 's|"zookeeper_credentials": ""|"zookeeper_credentials": "/etc/limpet/zookeeper"|' /etc/limpet/limpet.json
in_tree systemctl restart limpet || fail "checks-as-users.conf and documented credentials do not go together"
await in_tree sh -c 'systemctl show -P StatusText limpet.service | grep ^connected'
in_tree sed -i 's|"zookeeper_credentials": "/etc/limpet/zookeeper"|"zookeeper_credentials": ""|' /etc/limpet/limpet.json
in_tree rm "$drop_ins/checks-as-users.conf"
in_tree systemctl daemon-reload
in_tree systemctl restart limpet
says "limpet" in_tree stat -c %U /var/lib/limpet
says "$before" znode i-1

step "a credential that only root may read, handed over by systemd"
in_tree sh -c 'umask 077; echo limpet:secret >/etc/limpet/zookeeper'
in_tree sh -c "printf '[Service]\nLoadCredential=zookeeper:/etc/limpet/zookeeper\n' >$drop_ins/credential.conf"
in_tree sed -i 's|"zookeeper_credentials": ""|"zookeeper_credentials": "/run/credentials/limpet.service/zookeeper"|' \
  /etc/limpet/limpet.json
in_tree systemctl daemon-reload
in_tree systemctl restart limpet || fail "it does not start with a credential"
in_tree systemctl reload limpet || fail "a reload does not see the credential"
await in_tree sh -c 'systemctl show -P StatusText limpet.service | grep ^connected'
says "$before" znode i-1

step "removed, and purged"
in_tree dpkg --remove limpet >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
in_tree systemctl is-active --quiet limpet.service && fail "a removal leaves it running"
in_tree test ! -e /run/limpet/limpet.sock || fail "a removal leaves the socket"
in_tree test -e /etc/limpet/limpet.json || fail "a removal takes the configuration"
in_tree test -e /var/lib/limpet/FORMAT || fail "a removal takes the state"
in_tree dpkg --purge limpet >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
grep -q '^limpet: /etc/limpet is kept' "$work/log" || fail "a purge does not say that credentials stay: $(cat "$work/log")"
for path in /var/lib/limpet /run/limpet; do
  in_tree test ! -e "$path" || fail "a purge leaves $path: $(in_tree ls -la "$path")"
done
says zookeeper in_tree ls /etc/limpet
says "masked 0" in_tree sh -c 'echo "masked $(systemctl list-unit-files --state=masked | grep -c limpet)"'
