// A small complete accelerator: one tile array between three streams, with two buffers each.
//
// A layer is `row_tiles` x `input_tiles` passes of `token_groups` words. Activations come in the order of the passes,
// weights too, one tile after the other; outputs leave after the last pass of each row tile. Whoever feeds the streams
// pads with zeros where sizes do not divide, and drops the padded outputs. When what happens is written down in
// cycles.py: the two must agree cycle for cycle.
module l4edge_accelerator #(
    parameter int KIND_A = 0, BITS_A = 1, SIGNIFICANT_A = 0, ROWS_A = 8,
    parameter int KIND_B = 0, BITS_B = 1, SIGNIFICANT_B = 0, ROWS_B = 0,
    parameter int KIND_C = 0, BITS_C = 1, SIGNIFICANT_C = 0, ROWS_C = 0,
    parameter int TERMS = 16,
    parameter int LANES = 1,
    parameter int ACTIVATION = 8,
    parameter int ACTIVATION_SIGNED = 1,
    parameter int ACCUMULATOR = 24,
    parameter int OUTPUT = 32,
    parameter int PORT_BITS = 128,
    parameter int PORTS_IN = 1,
    parameter int PORTS_WEIGHT = 1,
    parameter int PORTS_OUT = 1,
    parameter int DEPTH = 256,
    parameter int ADDRESS = $clog2(DEPTH)
) (
    input  wire                              clock,
    input  wire                              reset,
    input  wire                              start,          // takes the layer's registers
    input  wire [15:0]                       row_tiles,
    input  wire [15:0]                       input_tiles,
    input  wire [15:0]                       token_groups,   // 1 to DEPTH
    input  wire [4:0]                        shift,
    output reg                               busy,

    input  wire [PORTS_IN*PORT_BITS-1:0]     activation_data,
    input  wire                              activation_valid,
    output wire                              activation_ready,
    input  wire [PORTS_WEIGHT*PORT_BITS-1:0] weight_data,
    input  wire                              weight_valid,
    output wire                              weight_ready,
    output wire [PORTS_OUT*PORT_BITS-1:0]    output_data,
    output wire                              output_valid,
    input  wire                              output_ready
);
    localparam int ROWS = ROWS_A + ROWS_B + ROWS_C;
    localparam int TILE = TERMS * (ROWS_A * BITS_A + ROWS_B * BITS_B + ROWS_C * BITS_C);
    localparam int WEIGHT_STREAM = PORTS_WEIGHT * PORT_BITS;
    localparam int WEIGHT_BEATS = (TILE + WEIGHT_STREAM - 1) / WEIGHT_STREAM;
    localparam int FINISH = (ROWS_A > 0 && KIND_A == 0) || (ROWS_B > 0 && KIND_B == 0) || (ROWS_C > 0 && KIND_C == 0);
    localparam int ARRAY = 1 + $clog2(TERMS) + FINISH;     // registers from activations to sums
    localparam int WORD = LANES * ROWS * ACCUMULATOR;

    // The layer.
    reg [15:0] layer_rows, layer_inputs;
    reg [ADDRESS:0] layer_groups;
    reg [4:0] layer_shift;
    always_ff @(posedge clock) begin
        if (start && !busy) begin
            layer_rows <= row_tiles;
            layer_inputs <= input_tiles;
            layer_groups <= token_groups[ADDRESS:0];
            layer_shift <= shift;
        end
    end

    // Passes: each goes through its token groups, one a cycle, once activations, weights and room for sums are there.
    reg [15:0] row_tile, input_tile;
    reg [ADDRESS:0] step;
    reg half, sum_half;
    reg weights_wait;                // a whole tile stands in the waiting set
    reg [1:0] sums_free, sums_done;  // of the two halves for sums: may be overwritten; may leave
    wire [1:0] activations_full;
    wire first_step = step == 0;
    wire last_step = layer_groups < 2 ? step == 1 : step == layer_groups - 1'b1;
    wire may_start = activations_full[half] && weights_wait && (input_tile != 0 || sums_free[sum_half]);
    wire working = busy && row_tile != layer_rows;
    wire issue = working && (first_step ? may_start : 1'b1);
    wire issue_token = issue && step < layer_groups;
    wire last_input = input_tile == layer_inputs - 1'b1;
    wire swap = issue && first_step;
    wire row_left;                   // the last beat of a row tile has left
    wire row_summed;
    reg leaving_half;

    always_ff @(posedge clock) begin
        if (issue) begin
            step <= last_step ? '0 : step + 1'b1;
            if (last_step) begin
                half <= !half;
                input_tile <= last_input ? 16'd0 : input_tile + 16'd1;
                if (last_input) begin
                    row_tile <= row_tile + 16'd1;
                    sum_half <= !sum_half;
                end
            end
        end
        if (start && !busy) row_tile <= 16'd0;
        if (reset) begin
            step <= '0;
            half <= 1'b0;
            sum_half <= 1'b0;
            input_tile <= 16'd0;
            row_tile <= 16'd0;
        end
    end

    // Activations.
    wire [LANES*TERMS*ACTIVATION-1:0] activations;
    activation_buffer #(.CODES(LANES*TERMS), .ACTIVATION(ACTIVATION), .PORTS(PORTS_IN), .PORT_BITS(PORT_BITS), .DEPTH(DEPTH))
        buffers(.clock(clock), .reset(reset), .enable(busy), .token_groups(layer_groups), .data(activation_data),
                .valid(activation_valid), .ready(activation_ready), .full(activations_full),
                .release_read(issue && last_step), .read_half(half), .read_address(step[ADDRESS-1:0]),
                .read_data(activations));

    // Weights: the waiting set is free again in the very cycle in which its tile is put to work.
    reg [15:0] weight_beat;
    wire weight_accept = weight_valid && weight_ready;
    wire weight_last = weight_beat == WEIGHT_BEATS - 1;
    assign weight_ready = busy && (!weights_wait || swap);
    always_ff @(posedge clock) begin
        if (swap) weights_wait <= 1'b0;
        if (weight_accept) begin
            weight_beat <= weight_last ? 16'd0 : weight_beat + 16'd1;
            if (weight_last) weights_wait <= 1'b1;
        end
        if (reset) begin
            weights_wait <= 1'b0;
            weight_beat <= 16'd0;
        end
    end

    // What goes with a token through the array: stage 0 is the cycle in which its activations can be read.
    localparam int TAG = ADDRESS + 4;
    wire last_token = issue_token && step == layer_groups - 1'b1 && last_input;
    reg [(ARRAY+1)*TAG-1:0] tags;
    wire [TAG-1:0] tag = {issue_token, last_token, input_tile == 0, sum_half, step[ADDRESS-1:0]};
    always_ff @(posedge clock) tags <= reset ? '0 : {tags[ARRAY*TAG-1:0], tag};
    wire [TAG-1:0] reading = tags[(ARRAY-1)*TAG +: TAG];
    wire [TAG-1:0] adding = tags[ARRAY*TAG +: TAG];
    wire add_valid = adding[TAG-1];
    wire add_first = adding[TAG-3];
    wire add_half = adding[TAG-4];
    wire [ADDRESS-1:0] add_address = adding[ADDRESS-1:0];
    assign row_summed = add_valid && adding[TAG-2];

    wire [WORD-1:0] sums;
    wire [2*WORD-1:0] held;
    wire [WORD-1:0] partial = add_first ? {WORD{1'b0}} : add_half ? held[WORD +: WORD] : held[0 +: WORD];
    tile_array #(.KIND_A(KIND_A), .BITS_A(BITS_A), .SIGNIFICANT_A(SIGNIFICANT_A), .ROWS_A(ROWS_A),
                 .KIND_B(KIND_B), .BITS_B(BITS_B), .SIGNIFICANT_B(SIGNIFICANT_B), .ROWS_B(ROWS_B),
                 .KIND_C(KIND_C), .BITS_C(BITS_C), .SIGNIFICANT_C(SIGNIFICANT_C), .ROWS_C(ROWS_C),
                 .TERMS(TERMS), .LANES(LANES), .ACTIVATION(ACTIVATION), .ACTIVATION_SIGNED(ACTIVATION_SIGNED),
                 .ACCUMULATOR(ACCUMULATOR), .WEIGHT_STREAM(WEIGHT_STREAM))
        array(.clock(clock), .shift_weights(weight_accept), .weight_data(weight_data), .swap_weights(swap),
              .activations(activations), .partial(partial), .sums(sums));

    // Sums: a half is summed up while the other leaves.
    reg leaving;
    reg [ADDRESS:0] leaving_group;
    reg [15:0] leaving_beat;
    wire output_accept = output_valid && output_ready;
    wire output_last_beat;
    wire [ADDRESS:0] next_group = leaving_group + (output_accept && output_last_beat ? 1'b1 : 1'b0);
    genvar h;
    generate
        for (h = 0; h < 2; h = h + 1) begin : sum_buffer
            partial_sums #(.WORD(WORD), .DEPTH(DEPTH))
                memory(.clock(clock), .write(add_valid && add_half == h), .write_address(add_address), .write_data(sums),
                       .read_address(sums_done[h] ? next_group[ADDRESS-1:0] : reading[ADDRESS-1:0]),
                       .read_data(held[h*WORD +: WORD]));
        end
    endgenerate
    always_ff @(posedge clock) begin
        if (swap && input_tile == 0) sums_free[sum_half] <= 1'b0;
        if (row_summed) sums_done[add_half] <= 1'b1;
        if (row_left) begin
            sums_done[leaving_half] <= 1'b0;
            sums_free[leaving_half] <= 1'b1;
        end
        if (reset) begin
            sums_free <= 2'b11;
            sums_done <= 2'b00;
        end
    end

    // Output: the words of a half, each in as many beats as it needs; one cycle to begin each row tile.
    localparam int PER_PORT = PORT_BITS / OUTPUT;
    localparam int PER_BEAT = PORTS_OUT * PER_PORT;
    localparam int OUTPUTS = LANES * ROWS;
    localparam int OUTPUT_BEATS = (OUTPUTS + PER_BEAT - 1) / PER_BEAT;
    localparam int PADDED = OUTPUT_BEATS * PER_BEAT * ACCUMULATOR;
    wire [PADDED-1:0] words = {{(PADDED-WORD+1){1'b0}}, leaving_half ? held[WORD +: WORD] : held[0 +: WORD]};
    wire [PER_BEAT*ACCUMULATOR-1:0] chosen = words[leaving_beat*PER_BEAT*ACCUMULATOR +: PER_BEAT*ACCUMULATOR];
    assign output_valid = leaving;
    assign output_last_beat = leaving_beat == OUTPUT_BEATS - 1;
    assign row_left = output_accept && output_last_beat && leaving_group == layer_groups - 1'b1;
    genvar p, k;
    generate
        for (p = 0; p < PORTS_OUT; p = p + 1) begin : port
            for (k = 0; k < PER_PORT; k = k + 1) begin : lane
                output_lane #(.ACCUMULATOR(ACCUMULATOR), .OUTPUT(OUTPUT))
                    narrow(.sum(chosen[(p*PER_PORT+k)*ACCUMULATOR +: ACCUMULATOR]), .shift(layer_shift),
                           .value(output_data[p*PORT_BITS+k*OUTPUT +: OUTPUT]));
            end
            if (PORT_BITS > PER_PORT * OUTPUT) begin : unused
                assign output_data[(p+1)*PORT_BITS-1 : p*PORT_BITS+PER_PORT*OUTPUT] = '0;
            end
        end
    endgenerate

    reg [15:0] rows_left;
    always_ff @(posedge clock) begin
        if (!leaving) leaving <= sums_done[leaving_half];
        if (output_accept) begin
            leaving_beat <= output_last_beat ? 16'd0 : leaving_beat + 16'd1;
            leaving_group <= next_group;
        end
        if (row_left) begin
            leaving <= 1'b0;
            leaving_group <= '0;
            leaving_half <= !leaving_half;
            rows_left <= rows_left - 16'd1;
            if (rows_left == 16'd1) busy <= 1'b0;
        end
        if (start && !busy) begin
            busy <= 1'b1;
            rows_left <= row_tiles;
        end
        if (reset) begin
            leaving <= 1'b0;
            leaving_beat <= 16'd0;
            leaving_group <= '0;
            leaving_half <= 1'b0;
            rows_left <= 16'd0;
            busy <= 1'b0;
        end
    end
endmodule
