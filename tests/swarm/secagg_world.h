/* secagg_world: both sides of SA1 in one process, with vectors of a few numbers: the shell that the
 * cores do without. Everything a coordinator is told is looked at: what would let it open a device
 * is counted as a break of the promise. Which secret a share is of says the box that the shown key opens, not the device. */
#ifndef STN_TESTS_SECAGG_WORLD_H
#define STN_TESTS_SECAGG_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/secagg_client.h"
#include "server/core/secagg_server.h"

enum { STN_WORLD_DEVICES = 128, STN_WORLD_VALUES = 300, STN_WORLD_RECORDS = 1024 };

struct stn_world_device {
    struct stn_ident ident;
    struct stn_id id;
    struct stn_secagg_client_config config;
    struct stn_secagg_client *client;
    struct stn_secagg_client_entropy entropy;
    struct stn_secagg_client_record record; /* on its disk */
    uint32_t x[STN_WORLD_VALUES];           /* its delta, encoded */
    uint32_t y[STN_WORLD_VALUES];           /* its spool, once it has uploaded */
    bool is_over, has_evidence, has_put, counts;
    enum stn_code over;
    struct stn_msg sent;              /* the last; points into the client */
    uint32_t n_sent[64];              /* by type */
    struct stn_sealed dealt[STN_WORLD_DEVICES]; /* its shares, by slot, as it sealed them */
    uint8_t shown[STN_WORLD_DEVICES]; /* of its secrets, by the number of the holder: 1 a share of b, 2 of mseed */
    struct stn_digest seeds[4];       /* of every self seed that went into a vector */
    uint32_t n_seeds;
    uint32_t tier; /* of its ranks */
    bool lies;          /* the keys that it shows fit nothing */
    bool deals_false;   /* it commits to another secret than it deals */
    uint32_t n_locked;  /* so many of its boxes no key fits */
    uint32_t n_crooked; /* so many of its shares are not of its secret */
    bool is_named;      /* a liar, by the coordinator */
    uint32_t n_disputes;
};

struct stn_world {
    struct stn_ident coordinator, directory;
    struct stn_terms terms;
    uint32_t n, target;
    struct stn_secagg_server *server;
    struct stn_secagg_server_effects effects;
    struct stn_world_device devices[STN_WORLD_DEVICES];
    uint64_t now_ms, wake_ms;
    uint32_t sum[STN_WORLD_VALUES];
    bool is_clear, is_void;
    enum stn_code why_void;
    uint32_t n_clear, n_disputes, n_named;
    bool stops_under_masks; /* the coordinator hears of no mask that is off: until a crash */
    uint32_t n_breaks; /* of what is promised to a device, as a coordinator would profit by them: a holder shows both its
                          shares of a member, t holders show either secret's, a self seed is in two vectors */
    uint32_t n_mixed;  /* members of whom any two show shares of both: an honest coordinator brings nobody to it */
    struct stn_world_record { /* the coordinator's disk */
        uint32_t kind, index;
        uint8_t *data;
        size_t size;
    } records[STN_WORLD_RECORDS];
    size_t n_records;
};

extern struct stn_world stn_world;

/* n devices, enrolled; a new round. */
void stn_world_begin(uint32_t n, uint32_t n_min, uint64_t seed);
/* The same of mixed ranks: tiers 0 to n_halvings. */
void stn_world_begin_mixed(uint32_t n, uint32_t n_min, uint32_t n_halvings, uint64_t seed);
void stn_world_end(void);

/* The device enters the round: its advert is in sent. */
void stn_world_enter(uint32_t i);
/* What the device sent last goes to the coordinator: its answer. */
enum stn_code stn_world_deliver(uint32_t i);
/* The device asks for the end of a stage and hears the answer. */
enum stn_code stn_world_poll(uint32_t i, enum stn_stage stage);
/* A message for the device, from whoever can say it. */
void stn_world_hear(uint32_t i, const struct stn_msg *msg);
/* The deadline comes, if the stage is still this one. */
void stn_world_expire(enum stn_stage stage);
/* The coordinator ends without warning and starts again from its records. */
void stn_world_crash(void);
/* One stage of everybody for whom is_there: they hear the end of the one before and say theirs. */
void stn_world_stage(enum stn_stage stage, const bool *is_there);

#endif
