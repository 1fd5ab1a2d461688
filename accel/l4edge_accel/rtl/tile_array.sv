// The array of a tile engine: rows of up to three number formats times TERMS inputs, for LANES tokens at once, with
// two sets of weights: one at work, one being shifted in.
module tile_array #(
    parameter int KIND_A = 0, BITS_A = 1, SIGNIFICANT_A = 0, ROWS_A = 8,
    parameter int KIND_B = 0, BITS_B = 1, SIGNIFICANT_B = 0, ROWS_B = 0,
    parameter int KIND_C = 0, BITS_C = 1, SIGNIFICANT_C = 0, ROWS_C = 0,
    parameter int TERMS = 16,
    parameter int LANES = 1,
    parameter int ACTIVATION = 8,
    parameter int ACTIVATION_SIGNED = 1,
    parameter int ACCUMULATOR = 24,
    parameter int WEIGHT_STREAM = 128,
    parameter int ROWS = ROWS_A + ROWS_B + ROWS_C
) (
    input  wire                                  clock,
    input  wire                                  shift_weights,   // take a beat into the waiting set
    input  wire [WEIGHT_STREAM-1:0]              weight_data,
    input  wire                                  swap_weights,    // put the waiting set to work from the next cycle on
    input  wire [LANES*TERMS*ACTIVATION-1:0]     activations,
    input  wire [LANES*ROWS*ACCUMULATOR-1:0]     partial,
    output wire [LANES*ROWS*ACCUMULATOR-1:0]     sums
);
    localparam int FINISH = (ROWS_A > 0 && KIND_A == 0) || (ROWS_B > 0 && KIND_B == 0) || (ROWS_C > 0 && KIND_C == 0);
    localparam int OPERAND = ACTIVATION + (ACTIVATION_SIGNED ? 0 : 1);
    localparam int LEVELS = $clog2(TERMS);
    localparam int PART_A = ROWS_A * TERMS * BITS_A;
    localparam int PART_B = ROWS_B * TERMS * BITS_B;
    localparam int PART_C = ROWS_C * TERMS * BITS_C;
    localparam int TILE = PART_A + PART_B + PART_C;
    localparam int BEATS = (TILE + WEIGHT_STREAM - 1) / WEIGHT_STREAM;

    reg [BEATS*WEIGHT_STREAM-1:0] waiting;
    reg [TILE-1:0] working;
    generate
        if (BEATS == 1) begin : one_beat
            always_ff @(posedge clock) if (shift_weights) waiting <= weight_data;
        end else begin : more_beats
            always_ff @(posedge clock)
                if (shift_weights) waiting <= {weight_data, waiting[BEATS*WEIGHT_STREAM-1:WEIGHT_STREAM]};
        end
    endgenerate
    always_ff @(posedge clock) if (swap_weights) working <= waiting[TILE-1:0];

    genvar lane, i;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : token
            wire [TERMS*OPERAND-1:0] operands;
            for (i = 0; i < TERMS; i = i + 1) begin : operand
                wire [ACTIVATION-1:0] code = activations[(lane*TERMS+i)*ACTIVATION +: ACTIVATION];
                if (ACTIVATION_SIGNED) begin : two_s_complement
                    assign operands[i*OPERAND +: OPERAND] = code;
                end else begin : unsigned_code
                    assign operands[i*OPERAND +: OPERAND] = {1'b0, code};
                end
            end

            wire signed [OPERAND+LEVELS-1:0] shared;
            if (FINISH) begin : shared_sum
                reg [TERMS*OPERAND-1:0] delayed;
                wire nothing;
                always_ff @(posedge clock) delayed <= operands;
                adder_tree #(.TERMS(TERMS), .TERM(OPERAND))
                    tree(.clock(clock), .terms(delayed), .carries({TERMS{1'b0}}), .sum(shared), .carry(nothing));
            end else begin : no_shared_sum
                assign shared = 0;
            end

            localparam int FIRST = lane * ROWS * ACCUMULATOR;
            if (ROWS_A > 0) begin : group_a
                row_group #(.KIND(KIND_A), .BITS(BITS_A), .SIGNIFICANT(SIGNIFICANT_A), .ROWS(ROWS_A), .TERMS(TERMS),
                            .OPERAND(OPERAND), .FINISH(FINISH), .ACCUMULATOR(ACCUMULATOR))
                    rows(.clock(clock), .weights(working[0 +: PART_A]), .activations(operands), .shared(shared),
                         .partial(partial[FIRST +: ROWS_A*ACCUMULATOR]), .sums(sums[FIRST +: ROWS_A*ACCUMULATOR]));
            end
            if (ROWS_B > 0) begin : group_b
                localparam int START = FIRST + ROWS_A * ACCUMULATOR;
                row_group #(.KIND(KIND_B), .BITS(BITS_B), .SIGNIFICANT(SIGNIFICANT_B), .ROWS(ROWS_B), .TERMS(TERMS),
                            .OPERAND(OPERAND), .FINISH(FINISH), .ACCUMULATOR(ACCUMULATOR))
                    rows(.clock(clock), .weights(working[PART_A +: PART_B]), .activations(operands), .shared(shared),
                         .partial(partial[START +: ROWS_B*ACCUMULATOR]), .sums(sums[START +: ROWS_B*ACCUMULATOR]));
            end
            if (ROWS_C > 0) begin : group_c
                localparam int START = FIRST + (ROWS_A + ROWS_B) * ACCUMULATOR;
                row_group #(.KIND(KIND_C), .BITS(BITS_C), .SIGNIFICANT(SIGNIFICANT_C), .ROWS(ROWS_C), .TERMS(TERMS),
                            .OPERAND(OPERAND), .FINISH(FINISH), .ACCUMULATOR(ACCUMULATOR))
                    rows(.clock(clock), .weights(working[PART_A+PART_B +: PART_C]), .activations(operands),
                         .shared(shared), .partial(partial[START +: ROWS_C*ACCUMULATOR]),
                         .sums(sums[START +: ROWS_C*ACCUMULATOR]));
            end
        end
    endgenerate
endmodule
