/* One invocation for each cell (row, c) of the window, WG columns to a group. */
layout(local_size_x_id = 0) in;

uint column()
{
    return gl_GlobalInvocationID.x;
}

uint row_()
{
    return gl_WorkGroupID.y;
}
