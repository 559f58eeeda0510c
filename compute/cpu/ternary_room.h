/* ternary_room: room for one packed matrix at a time, for weights that have no place packed: each use packs it again from where it
 * lies. A hollow matrix (stn_ternary_hollow) stands for it meanwhile. Thread: one user; fill may be shared out. */
#ifndef STN_COMPUTE_CPU_TERNARY_ROOM_H
#define STN_COMPUTE_CPU_TERNARY_ROOM_H

#include "compute/cpu/team.h"
#include "compute/cpu/ternary.h"

struct stn_ternary_room;

/* For matrices of which none has more of anything than said, and so many members of a team. The caller frees *ret. */
struct stn_ternary_room_size {
    size_t panels, scales, cols; /* bytes, bytes, columns */
};
enum stn_code stn_ternary_room_new(struct stn_ternary_room **ret, const struct stn_ternary_room_size *most, unsigned n_members,
                                   struct stn_err *err) STN_CHECKED;
void stn_ternary_room_free(struct stn_ternary_room *room);

/* Raises *most to hold a matrix; the bytes that a room of that size takes. */
void stn_ternary_room_raise(struct stn_ternary_room_size *most, size_t rows, size_t cols);
size_t stn_ternary_room_bytes(const struct stn_ternary_room_size *most, unsigned n_members);

/* source's weights come in: begin, then every unit once by any member, then end, which gives the matrix until the next begin. A
 * weight that is none becomes 0. Nothing is allocated. */
size_t stn_ternary_room_begin(struct stn_ternary_room *room, const struct stn_ternary_source *source); /* how many units */
void stn_ternary_room_fill(struct stn_ternary_room *room, unsigned member, size_t first, size_t count);
const struct stn_ternary *stn_ternary_room_end(struct stn_ternary_room *room);
/* All three, by a team of so many members. */
const struct stn_ternary *stn_ternary_room_pack(struct stn_ternary_room *room, struct stn_team *team, const struct stn_ternary_source *source);

#endif
