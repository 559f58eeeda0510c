#include "client/simulate/faults.h"

void stn_faults_init(struct stn_faults *faults, const struct stn_faults_config *config,
                     uint64_t seed)
{
    faults->config = *config;
    stn_rng_fork(&faults->rng, seed, "faults", 0);
}

bool stn_faults_last(const struct stn_faults *faults, uint64_t elapsed_ms)
{
    return elapsed_ms < faults->config.until_ms;
}

bool stn_faults_hit(struct stn_faults *faults, uint64_t elapsed_ms, double chance)
{
    return chance > 0 && stn_faults_last(faults, elapsed_ms) && stn_rng_unit(&faults->rng) < chance;
}

enum stn_faults_cut stn_faults_cut(struct stn_faults *faults, uint64_t elapsed_ms, double chance)
{
    if (!stn_faults_hit(faults, elapsed_ms, chance)) {
        return STN_FAULTS_NONE;
    }
    return (enum stn_faults_cut)(STN_FAULTS_BEFORE_COMMIT + stn_rng_below(&faults->rng, 3));
}

enum stn_faults_doom stn_faults_doom(struct stn_faults *faults, bool is_secure)
{
    int n = is_secure ? STN_FAULTS_N_DOOMS : STN_FAULTS_IN_SHARING;
    if (faults->config.vanish <= 0 || stn_rng_unit(&faults->rng) >= faults->config.vanish) {
        return STN_FAULTS_SPARED;
    }
    return (enum stn_faults_doom)(1 + stn_rng_below(&faults->rng, (uint64_t)n - 1));
}

uint64_t stn_faults_down_ms(struct stn_faults *faults)
{
    return 1 + stn_rng_below(&faults->rng, faults->config.down_ms + 1);
}

uint64_t stn_faults_owner_ms(struct stn_faults *faults)
{
    return 1 + stn_rng_below(&faults->rng, 2 * faults->config.owner_ms);
}
