#include "server/shell/store_table.h"

#define SIZE_OF(member) sizeof(((struct stn_record *)0)->member)
#define COLUMN(name, kind, member) {name, STN_STORE_##kind, offsetof(struct stn_record, member), SIZE_OF(member)}

static const struct stn_store_column task_columns[] = {
    COLUMN("name", TEXT, task.spec.name),
    COLUMN("state", U32, task.state),
    COLUMN("version", U64, task.version),
    COLUMN("clip_norm", F64, task.clip_norm),
    COLUMN("n_leases", U64, task.n_leases),
    COLUMN("created_ms", U64, task.created_ms),
    COLUMN("digest", BYTES, task.spec.digest.bytes),
    COLUMN("base_digest", BYTES, task.spec.base.digest.bytes),
    COLUMN("base_size", U64, task.spec.base.size),
    COLUMN("n_values", U64, task.spec.n_values),
    COLUMN("n_values_b", U64, task.spec.n_values_b),
    COLUMN("lora", U32, task.spec.lora),
    COLUMN("target", U32, task.spec.target),
    COLUMN("n_min", U32, task.spec.n_min),
    COLUMN("over_select", F64, task.spec.over_select),
    COLUMN("join_window_ms", U64, task.spec.join_window_ms),
    COLUMN("report_deadline_ms", U64, task.spec.report_deadline_ms),
    COLUMN("upload_ms", U64, task.spec.upload_ms),
    COLUMN("staleness", U32, task.spec.staleness),
    COLUMN("discount", F64, task.spec.discount),
    COLUMN("secure", BOOL, task.spec.secure),
    COLUMN("gamma", F64, task.spec.gamma),
    COLUMN("delta", F64, task.spec.delta),
    COLUMN("sigma", U32, task.spec.sigma),
    COLUMN("eta", U32, task.spec.eta),
    COLUMN("share_ms", U64, task.spec.share_ms),
    COLUMN("ack_ms", U64, task.spec.ack_ms),
    COLUMN("unmask_ms", U64, task.spec.unmask_ms),
    COLUMN("outer_kind", U32, task.spec.outer.kind),
    COLUMN("outer_rate", F64, task.spec.outer.rate),
    COLUMN("outer_momentum", F64, task.spec.outer.momentum),
    COLUMN("outer_beta1", F64, task.spec.outer.beta1),
    COLUMN("outer_beta2", F64, task.spec.outer.beta2),
    COLUMN("outer_eps", F64, task.spec.outer.eps),
    COLUMN("first_clip_norm", F64, task.spec.clip_norm),
    COLUMN("clip_quantile", F64, task.spec.clip_quantile),
    COLUMN("weight_max", U32, task.spec.weight_max),
    COLUMN("bits", U32, task.spec.bits),
    COLUMN("n_rounds", U64, task.spec.n_rounds),
    COLUMN("seed", U64, task.spec.seed),
    COLUMN("rank", U32, task.spec.train.rank),
    COLUMN("alpha", F32, task.spec.train.alpha),
    COLUMN("targets", U32, task.spec.train.targets),
    COLUMN("local_steps", U32, task.spec.train.local_steps),
    COLUMN("local_epochs", U32, task.spec.train.local_epochs),
    COLUMN("batch_examples", U32, task.spec.train.batch_examples),
    COLUMN("batch_tokens", U32, task.spec.train.batch_tokens),
    COLUMN("ctx", U32, task.spec.train.ctx),
    COLUMN("lr", F64, task.spec.train.lr),
    COLUMN("schedule", U32, task.spec.train.schedule),
    COLUMN("warmup", F64, task.spec.train.warmup),
    COLUMN("clip", F64, task.spec.train.clip),
    COLUMN("weight_decay", F64, task.spec.train.weight_decay),
    COLUMN("fedprox", F64, task.spec.train.fedprox),
    COLUMN("loss_all", BOOL, task.spec.train.loss_all),
    COLUMN("n_halvings", U32, task.spec.train.n_halvings),
    {0},
};

static const struct stn_store_column version_columns[] = {
    COLUMN("task", TEXT, version.task),
    COLUMN("version", U64, version.version),
    COLUMN("adapter_digest", BYTES, version.adapter.digest.bytes),
    COLUMN("adapter_size", U64, version.adapter.size),
    COLUMN("state_digest", BYTES, version.state.digest.bytes),
    COLUMN("state_size", U64, version.state.size),
    COLUMN("round", BYTES, version.round.bytes),
    COLUMN("n_included", U32, version.totals.n_included),
    COLUMN("weight", F64, version.totals.weight),
    COLUMN("loss", F64, version.totals.loss),
    COLUMN("tokens", F64, version.totals.tokens),
    COLUMN("share_clipped", F64, version.totals.share_clipped),
    COLUMN("created_ms", U64, version.created_ms),
    {0},
};

static const struct stn_store_column round_columns[] = {
    COLUMN("round", BYTES, round.round.bytes),
    COLUMN("task", TEXT, round.task),
    COLUMN("number", U64, round.number),
    COLUMN("version", U64, round.version),
    COLUMN("state", U32, round.state),
    COLUMN("code", U32, round.code),
    COLUMN("opened_ms", U64, round.opened_ms),
    COLUMN("deadline_ms", U64, round.deadline_ms),
    COLUMN("config", CONFIG, round.config),
    COLUMN("n_roster", U32, round.n_roster),
    COLUMN("tier", U32, round.tier),
    COLUMN("result_version", U64, round.result_version),
    {0},
};

static const struct stn_store_column member_columns[] = {
    COLUMN("round", BYTES, member.round.bytes),
    COLUMN("device", BYTES, member.device.bytes),
    COLUMN("state", U32, member.state),
    COLUMN("lease", U64, member.lease),
    COLUMN("n_samples", U64, member.n_samples),
    COLUMN("tier", U32, member.tier),
    COLUMN("upload", BYTES, member.upload.bytes),
    COLUMN("upload_size", U64, member.upload_size),
    {0},
};

static const struct stn_store_column lease_columns[] = {
    COLUMN("task", TEXT, lease.task),
    COLUMN("lease", U64, lease.lease),
    COLUMN("device", BYTES, lease.device.bytes),
    COLUMN("version", U64, lease.version),
    COLUMN("given_ms", U64, lease.given_ms),
    COLUMN("expires_ms", U64, lease.expires_ms),
    COLUMN("spent", BOOL, lease.spent),
    {0},
};

static const struct stn_store_column secagg_columns[] = {
    COLUMN("round", BYTES, secagg.round.bytes),
    COLUMN("kind", U32, secagg.of.kind),
    COLUMN("place", U32, secagg.of.index),
    {"bytes", STN_STORE_BLOB, offsetof(struct stn_record, secagg.of.data), offsetof(struct stn_record, secagg.of.size)},
    {0},
};

static const struct stn_store_column quarantine_columns[] = {
    COLUMN("device", BYTES, quarantine.device.bytes),
    COLUMN("round", BYTES, quarantine.round.bytes),
    COLUMN("since_ms", U64, quarantine.since_ms),
    {0},
};

const struct stn_store_table stn_store_table_rows[STN_STORE_TABLES] = {
    [STN_RECORD_TASK] = {"task", task_columns, 1, 1},
    [STN_RECORD_VERSION] = {"version", version_columns, 2, 2},
    [STN_RECORD_ROUND] = {"round", round_columns, 1, 1},
    [STN_RECORD_MEMBER] = {"member", member_columns, 2, 2},
    [STN_RECORD_LEASE] = {"lease", lease_columns, 2, 2},
    [STN_RECORD_SECAGG] = {"secagg", secagg_columns, 3, 1},
    [STN_RECORD_QUARANTINE] = {"quarantine", quarantine_columns, 1, 1},
};

/* Released schemas never change: what a later one adds is a further step. */
const char *const stn_store_table_steps[] = {
    "CREATE TABLE task (name TEXT NOT NULL PRIMARY KEY, state INTEGER NOT NULL, version INTEGER NOT NULL,"
    "  clip_norm REAL NOT NULL, n_leases INTEGER NOT NULL, created_ms INTEGER NOT NULL, digest BLOB NOT NULL,"
    "  base_digest BLOB NOT NULL, base_size INTEGER NOT NULL, n_values INTEGER NOT NULL, target INTEGER NOT NULL,"
    "  n_min INTEGER NOT NULL, over_select REAL NOT NULL, join_window_ms INTEGER NOT NULL,"
    "  report_deadline_ms INTEGER NOT NULL, upload_ms INTEGER NOT NULL, staleness INTEGER NOT NULL,"
    "  secure INTEGER NOT NULL, outer_kind INTEGER NOT NULL, outer_rate REAL NOT NULL,"
    "  outer_momentum REAL NOT NULL, first_clip_norm REAL NOT NULL, clip_quantile REAL NOT NULL,"
    "  weight_max INTEGER NOT NULL, bits INTEGER NOT NULL, n_rounds INTEGER NOT NULL, seed INTEGER NOT NULL,"
    "  rank INTEGER NOT NULL, alpha REAL NOT NULL, targets INTEGER NOT NULL, local_steps INTEGER NOT NULL,"
    "  local_epochs INTEGER NOT NULL, batch_examples INTEGER NOT NULL, batch_tokens INTEGER NOT NULL,"
    "  ctx INTEGER NOT NULL, lr REAL NOT NULL, schedule INTEGER NOT NULL, warmup REAL NOT NULL, clip REAL NOT NULL,"
    "  weight_decay REAL NOT NULL, fedprox REAL NOT NULL, loss_all INTEGER NOT NULL, factor INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE TABLE version (task TEXT NOT NULL, version INTEGER NOT NULL, adapter_digest BLOB NOT NULL,"
    "  adapter_size INTEGER NOT NULL, state_digest BLOB NOT NULL, state_size INTEGER NOT NULL, round BLOB NOT NULL,"
    "  n_included INTEGER NOT NULL, weight REAL NOT NULL, loss REAL NOT NULL, tokens REAL NOT NULL,"
    "  share_clipped REAL NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY (task, version)) WITHOUT ROWID;"
    "CREATE TABLE round (round BLOB NOT NULL PRIMARY KEY, task TEXT NOT NULL, number INTEGER NOT NULL,"
    "  version INTEGER NOT NULL, state INTEGER NOT NULL, code INTEGER NOT NULL, opened_ms INTEGER NOT NULL,"
    "  deadline_ms INTEGER NOT NULL, config BLOB NOT NULL, n_roster INTEGER NOT NULL,"
    "  result_version INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE member (round BLOB NOT NULL, device BLOB NOT NULL, state INTEGER NOT NULL, lease INTEGER NOT NULL,"
    "  n_samples INTEGER NOT NULL, upload BLOB NOT NULL, upload_size INTEGER NOT NULL,"
    "  PRIMARY KEY (round, device)) WITHOUT ROWID;"
    "CREATE TABLE lease (task TEXT NOT NULL, lease INTEGER NOT NULL, device BLOB NOT NULL, version INTEGER NOT NULL,"
    "  given_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, spent INTEGER NOT NULL,"
    "  PRIMARY KEY (task, lease)) WITHOUT ROWID;"
    "CREATE TABLE device (device BLOB NOT NULL PRIMARY KEY, key BLOB NOT NULL UNIQUE, certificate BLOB NOT NULL,"
    "  enrolled_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE snapshot (round BLOB NOT NULL PRIMARY KEY, number INTEGER NOT NULL, digest BLOB NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE TABLE snapshot_device (round BLOB NOT NULL, device BLOB NOT NULL, PRIMARY KEY (round, device))"
    "  WITHOUT ROWID;",
    "ALTER TABLE task RENAME COLUMN factor TO lora;"
    "ALTER TABLE task ADD COLUMN n_values_b INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE task ADD COLUMN outer_beta1 REAL NOT NULL DEFAULT 0.9;"
    "ALTER TABLE task ADD COLUMN outer_beta2 REAL NOT NULL DEFAULT 0.99;"
    "ALTER TABLE task ADD COLUMN outer_eps REAL NOT NULL DEFAULT 0.001;",
    /* secure rounds: the tasks of before are plain ones */
    "ALTER TABLE task ADD COLUMN gamma REAL NOT NULL DEFAULT 0.0; ALTER TABLE task ADD COLUMN delta REAL NOT NULL DEFAULT 0.0;"
    "ALTER TABLE task ADD COLUMN sigma INTEGER NOT NULL DEFAULT 0; ALTER TABLE task ADD COLUMN eta INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE task ADD COLUMN share_ms INTEGER NOT NULL DEFAULT 0; ALTER TABLE task ADD COLUMN ack_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE task ADD COLUMN unmask_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE secagg (round BLOB NOT NULL, kind INTEGER NOT NULL, place INTEGER NOT NULL, bytes BLOB NOT NULL,"
    "  PRIMARY KEY (round, kind, place));"
    "CREATE TABLE quarantine (device BLOB NOT NULL PRIMARY KEY, round BLOB NOT NULL, since_ms INTEGER NOT NULL)"
    "  WITHOUT ROWID;",
    /* mixed ranks, and weights by age */
    "ALTER TABLE task ADD COLUMN n_halvings INTEGER NOT NULL DEFAULT 0; ALTER TABLE task ADD COLUMN discount REAL NOT NULL DEFAULT 0.0;"
    "ALTER TABLE round ADD COLUMN tier INTEGER NOT NULL DEFAULT 0; ALTER TABLE member ADD COLUMN tier INTEGER NOT NULL DEFAULT 0;",
};
const size_t stn_store_table_n_steps = sizeof stn_store_table_steps / sizeof *stn_store_table_steps;
